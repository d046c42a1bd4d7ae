"""``coder-lsp ask``: an instruction about a place of one file, through the same path an editor's command takes."""

from __future__ import annotations

import asyncio
import difflib
import re
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.complete import read_text, repository_of, request_for
from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from coder_lsp.config import Config
    from coder_lsp.types import InstructOutcome, InstructRequest

_PLACE = re.compile(r"(?P<file>.+?)(?::(?P<first>\d+)(?:-(?P<last>\d+))?)?")
TASKS = ("generate", "rewrite", "explain", "tests")


@click.command()
@click.argument("place", metavar="FILE[:LINE[-LINE]]")
@click.argument("instruction", required=False, default="")
@click.option(
    "--task",
    type=click.Choice(TASKS),
    help="What is wanted [default: generate at one line; of several, rewrite them if there is an instruction, else "
    "explain them; a question is answered].",
)
@click.option("--outline", is_flag=True, help="Have the model write an outline first: for hard tasks.")
@click.option("--apply", is_flag=True, help="Write the change into FILE; without it the difference is printed alone.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Workspace folder the file belongs to [default: the nearest folder above it with a .git].",
)
@click.option("--max-tokens", type=click.IntRange(1, 16384), help="Most tokens to generate.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--no-context", is_flag=True, help="Show the model this file alone, no other files of the workspace.")
@click.option("--offline", is_flag=True, help="Forbid any use of the network.")
def ask(
    place: str,
    instruction: str,
    *,
    task: str | None,
    outline: bool,
    apply: bool,
    as_json: bool,
    root: Path | None,
    max_tokens: int | None,
    model: str | None,
    no_context: bool,
    offline: bool,
) -> int:
    """Have the model follow INSTRUCTION about lines of FILE.

    Lines are counted from one, as editors show them. INSTRUCTION `-` is read from stdin. Exit status 1: the model wrote
    nothing.

    \b
    coder-lsp ask shop.py:12 "a function that sums the prices"
    coder-lsp ask shop.py:10-20 "use a dataclass" --apply
    coder-lsp ask shop.py:10-20 --task tests > test_shop.py
    """  # noqa: D301  (what click reads as "leave these lines alone")
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import emit_json

    if instruction == "-":
        instruction = sys.stdin.read()
    request = instruct_request(place, instruction, task, root=root, outline=outline, max_tokens=max_tokens)
    file = Path(_parts(place)[0])
    known = request.root and (root is not None or repository_of(file.resolve().parent) is not None)
    roots = [Path(request.root)] if known and not no_context else []
    show = None if as_json else _Shown(request)
    config = load_config(model=model, offline=offline or None)
    outcome = asyncio.run(_ask(config, request, roots, show))
    changed = changed_text(request, outcome)
    written = apply and not outcome.reason and changed != request.text
    if written:
        _write(file, request.text, changed)
    if as_json:
        emit_json(as_dict(outcome, written=written))
    elif outcome.reason:
        click.echo(f"nothing to show: {outcome.reason}", err=True)
    else:
        assert show is not None
        show.finish(outcome, changed, file, written=written)
    return 1 if outcome.reason else 0


def instruct_request(
    place: str,
    instruction: str,
    task: str | None,
    *,
    root: Path | None = None,
    outline: bool = False,
    max_tokens: int | None = None,
) -> InstructRequest:
    """What is asked about a place on disk; a line is a cursor at its end, several are selected whole.

    :raises InputError: the file cannot be read as UTF-8 text, has no such lines, or nothing says what is wanted.
    """
    from coder_lsp.documents.lines import line_starts
    from coder_lsp.types import InstructRequest, Task

    name, first, last = _parts(place)
    text = read_text(Path(name))
    starts = [*line_starts(text), len(text)]
    count = len(starts) - 1
    if first is None:
        first, last = 1, count
    last = first if last is None else last
    if not 1 <= first <= last <= count:
        raise InputError(f"{place}: there are no such lines", hint=f"the file has lines 1 to {count}")
    wanted = Task(task) if task else _task(instruction, several=last > first)
    start, end = starts[first - 1], starts[last]
    if wanted is Task.GENERATE and first == last:
        start = end = start + len(text[start:end].rstrip("\r\n"))
    base = request_for(Path(name), first - 1, 0, root=root)
    return InstructRequest(
        uri=base.uri,
        text=text,
        start=start,
        end=end,
        task=wanted,
        instruction=instruction,
        outline=outline,
        language=base.language,
        path=base.path,
        root=base.root,
        max_tokens=max_tokens,
    )


def changed_text(request: InstructRequest, outcome: InstructOutcome) -> str:
    """The file as it would be; the same where the outcome is nothing for this file."""
    if outcome.reason or request.task.value in {"explain", "tests"}:
        return request.text
    text = outcome.text.replace("\n", "\r\n") if "\r\n" in request.text else outcome.text
    return request.text[: outcome.start] + text + request.text[outcome.end :]


def as_dict(outcome: InstructOutcome, *, written: bool) -> dict[str, Any]:
    """What ``--json`` prints."""
    result = outcome.result
    return {
        "task": outcome.task.value,
        "text": outcome.text,
        "start": outcome.start,
        "end": outcome.end,
        "reason": outcome.reason,
        "written": written,
        "model": result.model if result else "",
        "engine": result.engine if result else "",
        "finish_reason": result.finish_reason.value if result else "",
        "answer": result.text if result else "",
        "timings_ms": dict(result.timings_ms) if result else {},
        "tokens": asdict(result.tokens) if result else {},
        "snippets": [outcome.snippets[number].path for number in (result.snippets if result else ())],
    }


class _Shown:
    """The answer on the terminal, as it grows; at the end the difference it makes."""

    def __init__(self, request: InstructRequest) -> None:
        self._request = request
        self._said = 0

    def __call__(self, outcome: InstructOutcome) -> None:
        # Whole lines alone, so nothing that was printed is ever taken back but for what repeats the file.
        whole = outcome.text if outcome.result else outcome.text.rpartition("\n")[0]
        if len(whole) > self._said:
            click.echo(whole[self._said :], nl=False)
            self._said = len(whole)
            sys.stdout.flush()

    def finish(self, outcome: InstructOutcome, changed: str, file: Path, *, written: bool) -> None:
        if self._said and not outcome.text.endswith("\n"):
            click.echo()
        if changed == self._request.text:
            return
        difference = difflib.unified_diff(
            self._request.text.splitlines(keepends=True), changed.splitlines(keepends=True), str(file), str(file)
        )
        from coder_lsp.cli.console import harmless

        click.echo("", err=True)
        for line in difference:
            colour = {"+": "green", "-": "red"}.get(line[:1])
            click.secho(harmless(line.rstrip("\r\n")), fg=colour, err=True)
        what = f"written to {file}" if written else f"not written; --apply writes it into {file}"
        click.echo(what, err=True)


def _parts(place: str) -> tuple[str, int | None, int | None]:
    """File and lines; a file that is there under the whole name is that file."""
    if Path(place).exists():
        return place, None, None
    found = _PLACE.fullmatch(place)
    assert found is not None
    first, last = found["first"], found["last"]
    return found["file"], int(first) if first else None, int(last) if last else None


def _task(instruction: str, *, several: bool) -> Any:
    from coder_lsp.types import Task

    if instruction.rstrip().endswith("?"):
        return Task.EXPLAIN
    if not several:
        return Task.GENERATE
    return Task.REWRITE if instruction.strip() else Task.EXPLAIN


def _write(file: Path, before: str, text: str) -> None:
    """Beside its place, then renamed; with the rights it had.

    :raises InputError: it changed meanwhile, or cannot be written.
    """
    import os
    import tempfile

    target = file.resolve()
    if read_text(target) != before:
        raise InputError(f"{file} changed while the model wrote; nothing is written", hint="ask again")
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}-")
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).chmod(target.stat().st_mode & 0o7777)
        Path(name).replace(target)
    except OSError as error:
        if name is not None:
            Path(name).unlink(missing_ok=True)
        raise InputError(f"cannot write {file}: {error.strerror}; it is as it was") from error


async def _ask(
    config: Config,
    request: InstructRequest,
    roots: Sequence[Path],
    show: Callable[[InstructOutcome], None] | None,
) -> InstructOutcome:
    from coder_lsp.app import open_session

    async with open_session(config, roots=roots) as service:
        return await service.instruct(request, show)
