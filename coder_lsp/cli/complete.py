"""``coder-lsp complete``: one completion at one place of one file, through the same path an editor's request takes."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.config import Config
    from coder_lsp.types import CompletionOutcome, CompletionRequest

_MAX_FILE_BYTES = 16 * 1024 * 1024


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--line", "-l", type=int, required=True, help="Line of the cursor, counted from zero.")
@click.option("--column", "-c", type=int, required=True, help="Column of the cursor, in Unicode code points.")
@click.option(
    "--root",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Workspace folder the file belongs to [default: the nearest folder above it with a .git].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option(
    "--alternatives", type=click.IntRange(1, 5), default=1, show_default=True, help="How many different completions."
)
@click.option("--max-tokens", type=click.IntRange(1, 4096), help="Most tokens to generate.")
@click.option("--model", metavar="MODEL", help="Model name or path of a GGUF file [default: from the settings].")
@click.option("--no-context", is_flag=True, help="Show the model this file alone, no other files of the workspace.")
@click.option("--offline", is_flag=True, help="Forbid any use of the network.")
def complete(
    file: Path,
    line: int,
    column: int,
    *,
    root: Path | None,
    as_json: bool,
    alternatives: int,
    max_tokens: int | None,
    model: str | None,
    no_context: bool,
    offline: bool,
) -> None:
    """Complete FILE at a place and print what would be shown as ghost text.

    The model runs in the host process that editors use too; one is started if none is there. Other files of the
    repository (or of --root) are indexed and shown to the model, as in an editor.
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.console import emit_json

    request = request_for(file, line, column, root=root, max_tokens=max_tokens)
    config = load_config(model=model, offline=offline or None)
    config = replace(config, completion=replace(config.completion, alternatives=alternatives))
    # A folder that is no repository and was not named may be a whole home.
    known = request.root and (root is not None or repository_of(file.resolve().parent) is not None)
    roots = [Path(request.root)] if known and not no_context else []
    outcome = asyncio.run(_complete(config, request, roots))
    if as_json:
        emit_json(as_dict(outcome, request))
    elif outcome.suggestions:
        click.echo("\n".join(suggestion.text for suggestion in outcome.suggestions))
    else:
        click.echo(f"no suggestion: {outcome.reason}", err=True)


def request_for(
    file: Path, line: int, column: int, *, root: Path | None = None, max_tokens: int | None = None
) -> CompletionRequest:
    """An invoked request for a place on disk.

    :raises InputError: the file cannot be read as UTF-8 text, or has no such place.
    """
    from coder_lsp.languages import by_path
    from coder_lsp.types import CompletionRequest, Trigger

    text = read_text(file)
    cursor = offset_of(text, line, column)
    absolute = file.resolve()
    base = root.resolve() if root else repository_of(absolute.parent) or absolute.parent
    inside = absolute.is_relative_to(base)
    return CompletionRequest(
        uri=absolute.as_uri(),
        text=text,
        cursor=cursor,
        language=by_path(str(absolute)).id,
        path=absolute.relative_to(base).as_posix() if inside else absolute.name,
        root=str(base) if inside else "",
        trigger=Trigger.INVOKED,
        max_tokens=max_tokens,
        patient=True,
    )


def offset_of(text: str, line: int, column: int) -> int:
    r"""Code point offset of a zero-based place; lines end at ``\n``, ``\r\n`` or ``\r``, as in LSP.

    :raises InputError: no such line or column, with how far the file goes.
    """
    from coder_lsp.documents.lines import line_starts

    starts = line_starts(text)
    if not 0 <= line < len(starts):
        raise InputError(f"line {line} is not in the file", hint=f"it has lines 0 to {len(starts) - 1}")
    end = starts[line + 1] if line + 1 < len(starts) else len(text)
    width = len(text[starts[line] : end].rstrip("\r\n"))
    if not 0 <= column <= width:
        raise InputError(f"column {column} is not on line {line}", hint=f"the line has columns 0 to {width}")
    return starts[line] + column


def as_dict(outcome: CompletionOutcome, request: CompletionRequest) -> dict[str, object]:
    """What ``--json`` prints."""
    result = outcome.result
    suggestion = outcome.suggestions[0] if outcome.suggestions else None
    return {
        "text": suggestion.text if suggestion else "",
        "replace_after": suggestion.end - request.cursor if suggestion else 0,
        "alternatives": [other.text for other in outcome.suggestions[1:]],
        "reason": outcome.reason,
        "shape": outcome.shape.value,
        "model": result.model if result else "",
        "engine": result.engine if result else "",
        "finish_reason": result.finish_reason.value if result else "",
        "timings_ms": {**(result.timings_ms if result else {}), **outcome.timings_ms},
        "tokens": {**asdict(result.tokens), "context": result.context_tokens} if result else {},
        "snippets": [
            {
                "path": snippet.path,
                "start_line": snippet.start_line,
                "end_line": snippet.end_line,
                "source": snippet.source,
                "score": snippet.score,
            }
            for snippet in (outcome.snippets[number] for number in (result.snippets if result else ()))
        ],
    }


async def _complete(config: Config, request: CompletionRequest, roots: Sequence[Path]) -> CompletionOutcome:
    from coder_lsp.app import open_session

    async with open_session(config, roots=roots) as service:
        return await service.complete(request)


def read_text(file: Path) -> str:
    """A file's text with its own line ends.

    :raises InputError: it cannot be read as UTF-8 text.
    """
    try:
        if file.stat().st_size > _MAX_FILE_BYTES:
            raise InputError(f"{file} has {file.stat().st_size:,} bytes", hint=f"at most {_MAX_FILE_BYTES:,} are read")
        # newline="": the line ends are the file's own, or columns and the answer would not fit it.
        with file.open(encoding="utf-8", newline="") as stream:
            return stream.read()
    except UnicodeDecodeError as error:
        raise InputError(f"{file} is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}") from error


def repository_of(folder: Path) -> Path | None:
    """The nearest folder with a ``.git``, from ``folder`` upwards; None if it is in no repository."""
    return next((each for each in (folder, *folder.parents) if (each / ".git").exists()), None)
