"""How programs of a language are run in the sandbox, and which tools that takes.

That a program came to its end is said by its exit status where the language allows it: a program that leaves early with
status 0 has passed no test. ``end`` is put after such a program.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from coder_lsp.evaluate.codegen import golang
from coder_lsp.evaluate.sandbox import run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from coder_lsp.evaluate.sandbox import Limits, Outcome

_REACHED = 42
"""Exit status of a program that ran to its end: one that nothing else uses."""
_PYTHON_END = f"\nimport os as _os\n_os._exit({_REACHED})\n"
_JAVASCRIPT_END = f"\nprocess.exit({_REACHED})\n"
_JAVASCRIPT_START = (
    # In Node a failed console.assert only prints.
    "console.assert = (good, ...said) => { if (!good) throw new Error('assertion failed ' + said.join(' ')) }\n"
)
_JAVASCRIPT_MD5 = """const hash = require('crypto')
module.exports = (text) => hash.createHash('md5').update(text).digest('hex')
"""
"""What HumanEval-X uses of the package of this name, which its prompts name."""
_CPP_ANY = """#pragma once
#include <any>
namespace boost { using std::any; using std::any_cast; }
"""
"""All that HumanEval-X uses of Boost; searched after the system's own."""


@dataclass(frozen=True)
class Language:
    """``command`` runs ``file``; ``tools`` must be there. ``extra_seconds`` and memory are for compilers.

    ``lent`` makes a folder that each program may read.
    """

    file: str
    command: tuple[str, ...]
    tools: tuple[str, ...]
    start: str = ""
    end: str = ""
    reached: int = 0
    extra_seconds: float = 0.0
    memory_mb: int = 0
    files_mb: int = 0
    processes: int = 0
    files: tuple[tuple[str, str], ...] = ()
    lent: Callable[[], str] | None = None


def _shell(script: str) -> tuple[str, ...]:
    return ("/bin/sh", "-c", script)


LANGUAGES: dict[str, Language] = {
    "python": Language("program.py", ("python", "program.py"), ("python",), end=_PYTHON_END, reached=_REACHED),
    "javascript": Language(
        "program.js",
        # Else the end of what it says is nothing but its own functions.
        ("node", "--stack-trace-limit=2", "program.js"),
        ("node",),
        start=_JAVASCRIPT_START,
        end=_JAVASCRIPT_END,
        reached=_REACHED,
        memory_mb=2048,
        files=(("node_modules/js-md5/index.js", _JAVASCRIPT_MD5),),
    ),
    "cpp": Language(
        "program.cpp",
        # The linker may be kept from making its output executable (``seccomp``); a file that is stays so.
        _shell(
            "g++ -std=c++17 -w -O0 -idirafter . -o built program.cpp $LIBRARIES && "
            "cat built > program && exec ./program"
        ),
        ("g++",),
        extra_seconds=30.0,
        files=(("program", ""), ("boost/any.hpp", _CPP_ANY)),
    ),
    "java": Language(
        "Main.java",
        _shell(
            "javac -J-Xmx512m -J-XX:+UseSerialGC -nowarn Main.java && "
            "exec java -ea -Xmx512m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 Main"
        ),
        ("javac", "java"),
        extra_seconds=40.0,
        memory_mb=2048,
        processes=128,
    ),
    "go": Language(
        "program_test.go",
        # A module in the folder for temporary files is none to Go. Links, as it writes beside what is there.
        _shell(
            "mkdir .tmp && cp -rs $LENT .cache 2>/dev/null || cp -r $LENT .cache && "
            f"TMPDIR=$HOME/.tmp {golang.SETTINGS} GOCACHE=$HOME/.cache GOPATH=$HOME/.go "
            f"exec go test {golang.FLAGS} ./..."
        ),
        ("go",),
        extra_seconds=60.0,
        memory_mb=2048,
        files_mb=512,
        processes=256,
        files=golang.FILES,
        lent=golang.compiled_library,
    ),
    "shell": Language("program.sh", ("bash", "program.sh"), ("bash",)),
}
"""By our names for them."""


def missing(language: str, python: str = "") -> list[str]:
    """Tools that the language needs and this machine does not have."""
    tools = LANGUAGES[language].tools
    return [tool for tool in tools if shutil.which(_named(tool, python)) is None]


def execute(language: str, text: str, *, limits: Limits, python: str = "") -> Outcome:
    """Run a program; ``python`` is the interpreter for Python, ours if empty.

    :raises CoderLspError: a tool is missing, or the sandbox failed.
    """
    how = LANGUAGES[language]
    limits = replace(
        limits,
        seconds=limits.seconds + how.extra_seconds,
        memory_mb=max(limits.memory_mb, how.memory_mb),
        files_mb=max(limits.files_mb, how.files_mb),
        processes=max(limits.processes, how.processes),
    )
    files: Mapping[str, str] = {how.file: how.start + text + how.end, **dict(how.files)}
    command = [_named(word, python) for word in how.command]
    if language == "cpp":
        command[-1] = command[-1].replace("$LIBRARIES", "-lcrypto" if "openssl/" in text else "")
    lent = how.lent() if how.lent else ""
    command[-1] = command[-1].replace("$LENT", shlex.quote(lent))
    return run(
        command,
        files=files,
        limits=limits,
        tools=how.tools if command[0] == "/bin/sh" else (),
        readable=(lent,) if lent else (),
    )


def reached(language: str, outcome: Outcome) -> bool:
    """Whether a program ran to its end, through all of its tests."""
    return outcome.returncode == LANGUAGES[language].reached and outcome.status in {"passed", "failed"}


def _named(tool: str, python: str) -> str:
    return (python or sys.executable) if tool == "python" else tool
