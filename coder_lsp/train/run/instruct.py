"""Instructions and responses as documents: fine-tuning a model to follow, beside filling in.

A ``.jsonl`` file has an object a line with ``instruction`` and ``response`` (or ``output``, as DeepSeek's own example
has it). The text is DeepSeek-Coder's template; only the response and the token that ends it are learned. Text is
tokenised with special tokens off, so a response that spells a control token stays text.

    <system>
    ### Instruction:
    <instruction>
    ### Response:
    <response>
    <|EOT|>
"""

from __future__ import annotations

import codecs
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from coder_lsp.errors import InputError
from coder_lsp.prompt.chat import DEEPSEEK_SYSTEM, OTHER_SYSTEM, ChatFormat, conversation
from coder_lsp.train.dataset import INSTRUCT
from coder_lsp.train.run.data import Documents, from_arrays

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from coder_lsp.train.prepare.base import Base

HELD_OUT = "heldout_instruct"
_END = "<|EOT|>"
_HELD_OUT_SHARE = 0.05
_MOST_FAULTS = 10


@dataclass(frozen=True)
class Example:
    """One line of the file."""

    instruction: str
    response: str


def read(path: Path, *, skip_invalid: bool, note: Callable[[str], object]) -> list[Example]:
    """The examples of a file.

    :raises InputError: it cannot be read; or lines are no examples, each named by its number, unless they are to be
        skipped.
    """
    examples, faults = [], []
    try:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if not line.strip():
                    continue
                # Some editors put a byte order mark before the first.
                found = _example(line.removeprefix(codecs.BOM_UTF8) if number == 1 else line)
                if isinstance(found, Example):
                    examples.append(found)
                else:
                    faults.append(f"line {number}: {found}")
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error})", hint="give a JSONL file in UTF-8") from error
    if faults:
        shown = "\n".join(faults[:_MOST_FAULTS])
        if len(faults) > _MOST_FAULTS:
            shown += f"\nand {len(faults) - _MOST_FAULTS} more"
        if not skip_invalid:
            raise InputError(
                f"{path} has {_lines(faults)} no instruction with its response:\n{shown}",
                hint="mend them, or leave them out with --skip-invalid",
            )
        note(f"left out of {path}: {_lines(faults)} no instruction with its response\n{shown}")
    if not examples:
        raise InputError(f"{path} holds no instructions", hint='a line is {"instruction": "…", "response": "…"}')
    return examples


def tokenised(
    examples: Sequence[Example], base: Base, *, system: str | None, seed: int
) -> tuple[tuple[Documents, Documents], dict[str, Any]]:
    """Documents to learn from and, of every twentieth example, to measure on; and what ``run.json`` says of them."""
    if system is None:
        system = DEEPSEEK_SYSTEM if base.template.template.name == "deepseek" else OTHER_SYSTEM
    end = base.vocabulary.special(_END)
    end = base.end if end is None else end
    order = np.random.default_rng((seed, len(examples))).permutation(len(examples))
    held = max(1, round(_HELD_OUT_SHARE * len(examples))) if len(examples) > 1 else 0
    made = [document(examples[int(number)], base, system, end) for number in order]
    described = {"examples": len(examples), "examples_held_out": held, "system": system}
    return (from_arrays(INSTRUCT, made[held:]), from_arrays(HELD_OUT, made[:held])), described


def document(example: Example, base: Base, system: str, end: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Tokens and loss marks of one example."""
    vocabulary = base.vocabulary
    # Prompt and response apart: at serving the response begins behind a prompt that was tokenised by itself.
    before = conversation(vocabulary, ChatFormat(system, None, end, frozenset()), [example.instruction])
    after = [*vocabulary.tokenize(f"{example.response}\n"), end]
    loss = np.zeros(len(before) + len(after), np.uint8)
    loss[len(before) :] = 1
    return np.array(before + after, np.int32), loss


def _lines(faults: Sequence[str]) -> str:
    return "1 line that is" if len(faults) == 1 else f"{len(faults)} lines that are"


def _example(line: bytes) -> Example | str:
    """The example of a line, or what is wrong with it."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        return "not UTF-8"
    except ValueError as error:
        return f"not JSON ({error})"
    if not isinstance(row, dict):
        return f"{type(row).__name__}, not an object"
    instruction, response = row.get("instruction"), row.get("response", row.get("output"))
    for name, value in (("instruction", instruction), ("response", response)):
        if value is None:
            return f"no {name}"
        if not isinstance(value, str):
            return f"{name} is no text"
        if not value.strip():
            return f"{name} is empty"
    assert isinstance(instruction, str)
    assert isinstance(response, str)
    return Example(instruction, response)
