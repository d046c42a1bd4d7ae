"""``coder-lsp index``: brings the index of a folder up to date, as an editor's session does, and says what is in it."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from coder_lsp.cli.console import console, emit_json
from coder_lsp.errors import CoderLspError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import Console

    from coder_lsp.config import ContextConfig
    from coder_lsp.retrieval.index import Index, IndexedFile
    from coder_lsp.retrieval.indexer import Indexer, Progress

_LOOK_S = 0.1
"""Between two looks at whether something changed; and the longest that Ctrl-C has to wait."""
_LINE_S = 3.0
"""Between two lines of progress where no bar can be drawn."""
_NAMES = 5
"""Files named in one line."""


@dataclass(frozen=True)
class Run:
    """An index that is up to date. ``read`` is None where so little was read that nobody counted."""

    indexer: Indexer
    read: int | None
    seconds: float

    @property
    def index(self) -> Index:
        return self.indexer.index


@click.command()
@click.argument("root", required=False, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--stats", is_flag=True, help="Say what is in the index: languages, definitions, imports, sizes.")
@click.option("--watch", is_flag=True, help="Go on following changes, a line for each, until Ctrl-C.")
@click.option("--rebuild", is_flag=True, help="Delete the database first.")
@click.option("--remove", is_flag=True, help="Delete the database and do nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, and one for each change with --watch.")
def index(root: Path | None, *, stats: bool, watch: bool, rebuild: bool, remove: bool, as_json: bool) -> None:
    """Index a folder, by the rules and into the database that editors use.

    ROOT is the workspace folder [default: the nearest folder above that has a .git, else the current one].
    """
    from coder_lsp.app import load_config
    from coder_lsp.cli.complete import repository_of

    if remove and (stats or watch or rebuild):
        raise InputError("--remove goes with no other option but --json")
    folder = (root or repository_of(Path.cwd()) or Path.cwd()).resolve()
    if remove or rebuild:
        freed_bytes = _remove(folder)
        if remove:
            _say_removed(folder, freed_bytes, as_json=as_json)
            return
    config = load_config().context
    remarks = console(stderr=True)
    if not config.enabled:
        remarks.print("context.enabled is off: editors do not use this index")
    with up_to_date(folder, config, remarks, watch=watch) as run:
        # From here, not from where they are waited for: a file saved right after the figures is a change.
        following = changes(run.indexer)
        figures = _figures(run, folder, config, remarks, stats=stats)
        if as_json:
            emit_json(figures)
        else:
            for line in report(figures):
                click.echo(line)
        if watch:
            remarks.print("watching; Ctrl-C ends it")
            with contextlib.suppress(KeyboardInterrupt):
                for change in following:
                    _say_change(change, as_json=as_json)


@contextlib.contextmanager
def up_to_date(root: Path, config: ContextConfig, remarks: Console, *, watch: bool = False) -> Iterator[Run]:
    """The index of a folder with everything in it that is on disk now; its progress is shown."""
    from coder_lsp.retrieval.indexer import Indexer

    began = time.perf_counter()
    with contextlib.closing(_Shown(remarks)) as shown:
        indexer = Indexer(
            [root],
            exclude=config.exclude,
            max_files=config.max_files,
            watch=config.watch if watch else "off",
            on_progress=shown.update,
            on_notice=remarks.print,
        )
        indexer.start()
        try:
            _settle(indexer)
            shown.close()
            yield Run(indexer, shown.read, time.perf_counter() - began)
        finally:
            indexer.stop(timeout_s=10.0)


def changes(indexer: Indexer) -> Iterator[dict[str, Any]]:
    """What changes in the index from now on: ``changed`` and ``removed`` paths, and how many ``files`` it has then."""
    return _changes(indexer, indexer.index.generation, _by_path(indexer.index))


def report(figures: dict[str, Any]) -> Iterator[str]:
    """The figures as lines of text."""
    speed = f", {figures['files_per_second']:,.0f} files/s" if figures["files_per_second"] else ""
    read = f", {figures['read']:,} read" if figures["read"] else ""
    yield f"{figures['root']}: {figures['files']:,} files{read} in {figures['seconds']:.2f} s{speed}"
    for kind in ("files", "folders"):
        for reason, count in figures["left_out"][kind].items():
            yield f"  left out  {count:>7,} {kind}: {reason}"
    if "chunks" not in figures:
        return
    yield f"chunks    {figures['chunks']:,}, of {figures['terms']:,} different words"
    yield f"symbols   {figures['symbols']:,}"
    graph = figures["graph"]
    yield (
        f"imports   {graph['imports']:,}, {graph['resolved']:,} of them lead to files of this folder; "
        f"the largest group that hangs together has {graph['largest_group']:,} files"
    )
    for language, share in figures["languages"].items():
        yield f"  {language:<20} {share['files']:>7,} files {share['lines']:>10,} lines"
    yield f"database  {figures['database'] or 'none, kept in memory'} ({_megabytes(figures['database_bytes'])})"
    yield f"memory    {_megabytes(figures['memory_bytes'])} for the search index"


def _figures(run: Run, root: Path, config: ContextConfig, remarks: Console, *, stats: bool) -> dict[str, Any]:
    from coder_lsp.retrieval import overview
    from coder_lsp.workspace.folder import Folder

    folder = Folder(root, exclude=config.exclude)
    indexed = _by_path(run.index)
    full = len(indexed) >= config.max_files
    with remarks.status("counting"):
        figures: dict[str, Any] = {
            "root": str(root),
            "files": len(indexed),
            "read": run.read,
            "seconds": round(run.seconds, 3),
            "files_per_second": round(run.read / run.seconds, 1) if run.read else None,
            "left_out": asdict(overview.left_out(folder, indexed.keys(), full=full)),
        }
        if not stats:
            return figures
        known = run.index.stats()
        here = known.roots[0]
        return {
            **figures,
            "chunks": known.chunks,
            "terms": known.terms,
            "symbols": here.symbols,
            "languages": {name: asdict(share) for name, share in overview.languages(run.index, root).items()},
            "graph": asdict(overview.graph_facts(run.index, folder)),
            "database": here.database,
            "database_bytes": here.database_bytes,
            "memory_bytes": known.memory_bytes,
        }


def _changes(indexer: Indexer, generation: int, before: dict[str, IndexedFile]) -> Iterator[dict[str, Any]]:
    pause = threading.Event()
    while True:
        if indexer.index.generation == generation:
            pause.wait(_LOOK_S)
            continue
        _settle(indexer)
        generation = indexer.index.generation
        now = _by_path(indexer.index)
        # A file that was read again is another object.
        changed = sorted(path for path, file in now.items() if before.get(path) is not file)
        removed = sorted(before.keys() - now.keys())
        before = now
        if changed or removed:
            yield {"changed": changed, "removed": removed, "files": len(now)}


class _Shown:
    """Progress on stderr: a bar on a terminal, a line now and then elsewhere. Updated from the indexer's threads."""

    def __init__(self, remarks: Console) -> None:
        self.read: int | None = None
        self._remarks = remarks
        self._stack = contextlib.ExitStack()
        self._line_at = time.monotonic() + _LINE_S
        drawn = remarks.is_terminal and not remarks.is_dumb_terminal
        self._bar = self._open_bar() if drawn else None

    def close(self) -> None:
        """Take the bar away, before anything else is printed."""
        self._bar = None
        self._stack.close()

    def update(self, progress: Progress) -> None:
        self.read = max(self.read or 0, progress.done)
        bar = self._bar
        if bar is not None:
            bar(progress)
        elif time.monotonic() >= self._line_at:
            self._line_at = time.monotonic() + _LINE_S
            self._remarks.print(f"read {progress.done:,} of {progress.total:,}{' or more' * progress.walking} files")

    def _open_bar(self) -> Callable[[Progress], None]:
        from rich import progress as bars

        shown = self._stack.enter_context(
            bars.Progress(
                bars.TextColumn("{task.description}", markup=False),
                bars.BarColumn(),
                bars.MofNCompleteColumn(),
                bars.TimeElapsedColumn(),
                console=self._remarks,
                transient=True,
            )
        )
        task = shown.add_task("indexing", total=None)

        def update(progress: Progress) -> None:
            # While the walk goes on nobody knows how much there is.
            shown.update(task, completed=progress.done, total=None if progress.walking else progress.total)

        return update


def _settle(indexer: Indexer) -> None:
    while not indexer.wait_settled(_LOOK_S):
        pass  # In small steps, for a wait without end cannot be interrupted everywhere.


def _by_path(index: Index) -> dict[str, IndexedFile]:
    return {file.path: file for _, file in index.files()}


def _say_change(change: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        emit_json(change)
        return
    parts = [f"{kind} {_names(change[kind])}" for kind in ("changed", "removed") if change[kind]]
    click.echo(f"{time.strftime('%H:%M:%S')}  {'; '.join(parts)}  ({change['files']:,} files)")


def _names(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMES:,} more" if len(paths) > _NAMES else ""
    return ", ".join(paths[:_NAMES]) + more


def _remove(root: Path) -> int:
    """Delete the database of a folder; returns how many bytes it had."""
    from coder_lsp.retrieval.database import database_parts, database_path, delete_database

    path = database_path(root)
    size_bytes = sum(part.stat().st_size for part in database_parts(path) if part.is_file())
    try:
        delete_database(path)
    except OSError as error:
        raise CoderLspError(f"cannot delete {path}: {error.strerror}") from error
    return size_bytes


def _say_removed(root: Path, freed_bytes: int, *, as_json: bool) -> None:
    if as_json:
        emit_json({"root": str(root), "freed_bytes": freed_bytes})
    else:
        click.echo(f"removed {_megabytes(freed_bytes)}" if freed_bytes else f"there is no index of {root}")


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
