"""One measurement in a process of its own: memory counts from nothing, and what is kept goes to a folder given for it.

The parent starts ``python -m coder_lsp.bench.fresh MODULE:FUNCTION`` and writes the arguments as one JSON object to its
stdin; the child writes lines of JSON to stdout: what it is doing, and last the result or an error of ours. The function
is one of this package, and takes ``note`` besides its arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from importlib import import_module
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import CoderLspError
from coder_lsp.interpreter import module_command
from coder_lsp.paths import HOME_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    Note = Callable[[str], None]

_GRACE_SECONDS = 10.0
"""For a child that is interrupted to end what it has started itself."""
_LAST_WORDS = 5
"""Lines."""


def in_fresh_process(step: str, arguments: Mapping[str, Any], home: Path, note: Note) -> dict[str, Any]:
    """What the function ``step`` ("module:function" of this package) returns, with ``home`` as CODER_LSP_HOME.

    :raises CoderLspError: the child's own, or that it came to no end.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as stderr:
        process = subprocess.Popen(
            module_command(__name__, step),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env={**os.environ, HOME_VARIABLE: str(home)},
            encoding="utf-8",
        )
        try:
            found = _converse(process, json.dumps(arguments), note)
            process.wait(_GRACE_SECONDS)
        except BaseException:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_GRACE_SECONDS)
            raise
        finally:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe:
                    pipe.close()
        if "result" in found:
            result: dict[str, Any] = found["result"]
            return result
        if "error" in found:
            raise CoderLspError(found["error"], hint=found["hint"])
        stderr.seek(0)
        last_words = "\n".join(stderr.read().splitlines()[-_LAST_WORDS:])
    raise CoderLspError(f"{step} ended with status {process.returncode} and no result", hint=last_words)


def main() -> int:
    """The child's part."""
    module, _, function = sys.argv[1].partition(":")
    arguments = json.load(sys.stdin)
    try:
        step = getattr(import_module(f"coder_lsp.bench.{module}"), function)
        _say(result=step(**arguments, note=lambda text: _say(note=text)))
    except CoderLspError as error:
        _say(error=error.message, hint=error.hint)
        return 1
    return 0


def _converse(process: subprocess.Popen[str], arguments: str, note: Note) -> dict[str, Any]:
    """The last line that is no note; empty if there is none."""
    assert process.stdin is not None
    assert process.stdout is not None
    # A child that could not start reads nothing; why is on its stderr.
    with contextlib.suppress(OSError):
        process.stdin.write(arguments)
        process.stdin.close()
    said: dict[str, Any] = {}
    for line in process.stdout:
        said = json.loads(line)
        if "note" in said:
            note(said["note"])
            said = {}
    return said


def _say(**what: Any) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    sys.exit(main())
