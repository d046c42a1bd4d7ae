"""Instructions of a user about a place in a file: what the model is asked, and what its answer means for the file.

Generate, rewrite, explain, tests. What comes back is text for one range, as it grows and at the end; who applies it,
and when, is for the caller to say. ``completion.service`` has the gate and the block of other files.
"""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import takewhile
from typing import TYPE_CHECKING

from coder_lsp.completion.answer import (
    FENCE,
    code_of,
    declares,
    fit,
    indent_at,
    indent_of_declaration,
    repeats_itself,
)
from coder_lsp.completion.lines import UNSEEN
from coder_lsp.languages import by_id
from coder_lsp.types import AskRequest, CompletionRequest, FinishReason, InstructOutcome, Task, Trigger

if TYPE_CHECKING:
    from collections.abc import Iterable

    from coder_lsp.types import Adapter, FimBackend, FimResult, InstructRequest, PreviewSink, Snippet

OUTLINE = "You need first to write a step-by-step outline and then write the code."
"""For hard tasks (DeepSeek-Coder, arXiv 2401.14196, section 4.1)."""
_MAX_TOKENS = {Task.GENERATE: 384, Task.REWRITE: 512, Task.EXPLAIN: 256, Task.TESTS: 640}
_OUTLINE_TOKENS = 256
_BEGUN_LINES = 4
_SAME_LINES = 3
"""Comments above the cursor that are taken for the instruction, at most."""
_DECLARATIONS = re.compile(
    r"\b(?:function|class|method|procedure|struct|interface|enum|trait|def|test)\b", re.IGNORECASE
)
"""Words of an instruction that ask for something that stands by itself."""
_FRAMEWORKS = {
    "python": "pytest",
    "javascript": "the test framework that the project uses, else node:test",
    "typescript": "the test framework that the project uses, else node:test",
    "go": "the package testing",
    "rust": "#[test]",
    "java": "JUnit 5",
    "csharp": "xUnit",
    "cpp": "GoogleTest",
    "ruby": "RSpec",
    "php": "PHPUnit",
}


async def follow(
    backend: FimBackend,
    request: InstructRequest,
    snippets: tuple[Snippet, ...] = (),
    adapters: tuple[Adapter, ...] = (),
    on_preview: PreviewSink | None = None,
) -> InstructOutcome:
    """Have the model follow an instruction that :func:`unfit` has nothing against. Cancelling the task ends it.

    :raises CoderLspError: the model cannot: it is not there, the selection is too long for it …
    """
    asked = replace(question(request, snippets), adapters=adapters)
    said: list[str] = []

    def on_text(delta: str) -> bool:
        said.append(delta)
        if on_preview is not None:
            on_preview(outcome(request, "".join(said), done=False))
        whole = "".join(said)
        if repeats_itself(whole):
            return False
        # Behind the code come explanations that nobody asked for.
        return request.task is Task.EXPLAIN or not _closed(whole, begun=bool(asked.begun))

    result = await backend.ask(asked, on_text)
    if (
        asked.snippets
        and result.finish_reason is FinishReason.STOP_TOKEN
        and not code_of(result.text, begun=bool(asked.begun), done=True).strip()
    ):
        # Small models take other files for what was wanted, and see nothing left to do.
        said.clear()
        result = await backend.ask(replace(asked, snippets=()), on_text)
    done = outcome(request, result.text, done=True, result=result, snippets=snippets)
    if on_preview is not None:
        on_preview(done)
    return done


def unfit(request: InstructRequest) -> str:
    """Why an instruction cannot be followed as it is; empty if it can."""
    selection = request.text[request.start : request.end]
    if request.task is not Task.GENERATE and not selection.strip():
        return "nothing is selected"
    if request.task is Task.REWRITE and not request.instruction.strip():
        return "no instruction was given"
    if request.task is Task.GENERATE and not (
        request.instruction.strip() or comment_above(request.text, request.start, request.language)
    ):
        return "no instruction was given, and no comment stands above the cursor"
    return ""


def as_completion(request: InstructRequest) -> CompletionRequest:
    """The place, as the gate and the context know places."""
    return CompletionRequest(
        uri=request.uri,
        text=request.text,
        cursor=request.start,
        language=request.language,
        path=request.path,
        root=request.root,
        trigger=Trigger.INVOKED,
    )


def question(request: InstructRequest, snippets: tuple[Snippet, ...] = ()) -> AskRequest:
    """What is asked of the model."""
    text, language = request.text, request.language
    selection = text[request.start : request.end]
    before, after = text[: request.start], text[request.end :]
    fenced = f"{FENCE}{language}\n{selection.strip(chr(10))}\n{FENCE}\n"
    told = request.instruction.strip()
    if request.task is Task.GENERATE:
        told = told or comment_above(text, request.start, language)
        wanted = f"Write code: {told}"
        if selection.strip():
            wanted = f"{fenced}\nWrite code in place of this: {told}"
        wanted += "\nAnswer with code alone."
    elif request.task is Task.REWRITE:
        wanted = (
            f"This is a part of the file:\n{fenced}\nRewrite it: {told}\n"
            "Answer with the whole part as it is to be, and nothing else."
        )
    elif request.task is Task.EXPLAIN:
        wanted = f"This is a part of it:\n{fenced}\n{told or 'Explain in a few sentences what this part does.'}"
    else:
        framework = _FRAMEWORKS.get(language, "the usual test framework of the language")
        wanted = (
            f"{fenced}\nWrite tests of this code with {framework}, in a file of their own"
            f"{_import_hint(request)}. {told}".rstrip()
            + "\nAnswer with the code of that file alone."
        )
    begun = "" if request.task is Task.EXPLAIN else f"{FENCE}{language}\n"
    if _goes_on(request):
        begun += _lines_above(request)
        if request.instruction.strip():
            # As if the user had written it there: what a completion model follows best.
            begun += _as_comment(request)
    limit = request.max_tokens or _MAX_TOKENS[request.task]
    if request.outline and request.task is not Task.EXPLAIN:
        wanted, begun = f"{wanted}\n{OUTLINE}", ""
        limit += 0 if request.max_tokens else _OUTLINE_TOKENS
    return AskRequest(
        document=request.uri,
        instruction=wanted,
        before=before,
        after=after,
        begun=begun,
        self_contained=request.task is not Task.GENERATE,
        language=language,
        path=request.path,
        snippets=snippets,
        max_tokens=limit,
    )


def outcome(
    request: InstructRequest,
    answer: str,
    *,
    done: bool,
    result: FimResult | None = None,
    snippets: tuple[Snippet, ...] = (),
) -> InstructOutcome:
    """What an answer, or the beginning of one, means for the file. What cannot be seen is left out of it."""
    answer = UNSEEN.sub("", answer)
    if request.task is Task.EXPLAIN:
        text, start, end = answer.strip(), request.start, request.end
    else:
        code = code_of(answer, begun=not request.outline, done=done)
        if not done:
            # The line that is being written would jump about.
            code = code.rpartition("\n")[0]
        text, start, end = _placed(request, code)
    reason = ""
    if done and repeats_itself(answer):
        text, reason = "", "the model repeated itself"
    elif done and not text.strip():
        cancelled = result is not None and result.finish_reason is FinishReason.CANCELLED
        text, reason = "", "cancelled" if cancelled else "the model wrote nothing"
    return InstructOutcome(request.task, text, start, end, reason, result, snippets)


def comment_above(text: str, offset: int, language: str) -> str:
    """The words of the comment that ends above an offset, or on its line; empty if there is none."""
    marks = by_id(language).line_comments or ("#", "//")
    words: list[str] = []
    # The whole line: where editors have no insertion point, the cursor stands on a comment's first character.
    lines = text[: _line(text, offset)[1]].split("\n")
    if not lines[-1].strip():
        lines.pop()
    for line in reversed(lines[-_SAME_LINES:]):
        stripped = line.strip()
        mark = next((mark for mark in marks if stripped.startswith(mark)), None)
        if mark is None:
            break
        words.append(stripped.removeprefix(mark).strip())
    return " ".join(reversed(words)).strip()


def _placed(request: InstructRequest, code: str) -> tuple[str, int, int]:
    """Whole lines for the place, and the range they go to."""
    text, start, end = request.text, request.start, request.end
    if request.task is Task.TESTS:
        return fit(code, before="", after="", indent=""), start, end
    if start == end:
        return _below(request, code)
    # Whole lines, unless the selection lies within one.
    inside = "\n" not in text[start:end]
    head = text[text.rfind("\n", 0, start) + 1 : start]
    if inside and head.strip():
        return fit(code, before="", after="", indent="").strip(), start, end
    start -= len(head) if not head.strip() else 0
    first = next((line for line in text[start:end].split("\n") if line.strip()), "")
    fitted = fit(code, before="", after="", indent=first[: len(first) - len(first.lstrip())])
    ends_line = text[start:end].endswith("\n")
    return f"{fitted}\n" if ends_line and fitted else fitted, start, end


def _below(request: InstructRequest, code: str) -> tuple[str, int, int]:
    """Code for a cursor: in place of its line if that is blank, else below it."""
    text, at = request.text, request.start
    line_start, line_end = _line(text, at)
    blank = not text[line_start:line_end].strip()
    above, below = text[: line_start if blank else line_end], text[line_end:]
    first = next((line for line in code.split("\n") if line.strip()), "")
    # What goes on behind the file's own lines has their indentation, unless the model lost sight of it.
    kept = _goes_on(request) and (first[:1].isspace() or declares(code))
    indent = None if kept else indent_at(text, at)
    if indent is not None and text[line_start:line_end].rstrip().endswith((":", "{")):
        indent += "\t" if "\t" in indent else "    "
    elif indent is not None and declares(code) and not comment_above(text, at, request.language):
        # A function asked for inside another one goes beside it.
        indent = indent_of_declaration(above, indent)
    fitted = fit(code, before=above, after=below, indent=indent)
    if not fitted:
        return "", line_end, line_end
    apart = 0
    if declares(fitted) and not comment_above(text, at, request.language):
        apart = 2 if request.language == "python" and not indent_at(fitted, 0) else 1
    if not blank and len(indent_at(text, at)) <= len(indent_at(fitted, 0)):
        # What is asked for on the line of a head or of a comment belongs to it.
        apart = 0
    if above.strip():
        fitted = "\n" * max(0, apart - _blank_lines(reversed(above.splitlines()))) + fitted
    if below.strip():
        fitted += "\n" * max(0, apart - _blank_lines(below.splitlines()[1:]))
    return (fitted, line_start, line_end) if blank else (f"\n{fitted}", line_end, line_end)


def _blank_lines(lines: Iterable[str]) -> int:
    """How many there are before the first other one."""
    return sum(1 for _ in takewhile(lambda line: not line.strip(), lines))


def _goes_on(request: InstructRequest) -> bool:
    """Whether the answer begins with the lines above the cursor, so that the model goes on behind them.

    A small model that is asked for "the code that comes next" writes something like it all over again. One that has
    begun with the file's own last lines goes on in their indentation, as in a completion.
    """
    return request.task is Task.GENERATE and request.start == request.end and not request.outline


def _lines_above(request: InstructRequest) -> str:
    """The last lines up to the cursor's, which is left out if it is blank."""
    line_start, line_end = _line(request.text, request.start)
    end = line_end if request.text[line_start:line_end].strip() else line_start
    lines = request.text[:end].rstrip("\n\r").splitlines()[-_BEGUN_LINES:]
    return "".join(f"{line}\n" for line in lines)


def _as_comment(request: InstructRequest) -> str:
    """The instruction as a comment below the lines above, indented as what it asks for would be."""
    text, at = request.text, request.start
    line_start, line_end = _line(text, at)
    indent = indent_at(text, at)
    line = text[line_start:line_end].rstrip()
    if line.endswith((":", "{")):
        indent += "\t" if "\t" in indent else "    "
    elif _DECLARATIONS.search(request.instruction):
        above = text[:line_end].rstrip()
        indent = indent_of_declaration(above, indent if line else indent_at(above, len(above)))
    marks = by_id(request.language).line_comments or ("#",)
    said = " ".join(request.instruction.split())
    gap = "\n" if len(indent) < len(indent_at(text, at)) else ""
    return f"{gap}{indent}{marks[0]} {said}\n"


def _line(text: str, at: int) -> tuple[int, int]:
    """Where the line of an offset begins and ends, without its line end."""
    start = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    end = len(text) if end < 0 else end
    return start, end - 1 if text.endswith("\r", start, end) else end


def _closed(answer: str, *, begun: bool) -> bool:
    """Whether the code of an answer is complete: its fence is closed."""
    fences = sum(line.lstrip().startswith(FENCE) for line in answer.split("\n")[:-1])
    return fences >= (1 if begun else 2)


def _import_hint(request: InstructRequest) -> str:
    """How a test would import the code, where that can be told from the path."""
    if request.language == "python" and request.path.endswith(".py"):
        module = request.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".").removeprefix("src.")
        return f", importing from {module}"
    return ""
