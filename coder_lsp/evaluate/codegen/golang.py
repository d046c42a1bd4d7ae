"""What Go needs besides its tools: a module, and its library compiled once.

Go keeps no compiled library. Each program would compile what it uses of it, which takes a minute; so a program of ours
that uses all that HumanEval-X's do is compiled before the first, outside of the sandbox, and what that left is lent to
the others, read-only.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

from coder_lsp.errors import CoderLspError

PACKAGES = ("math", "strings", "fmt", "strconv", "time", "bytes", "regexp", "sort", "math/rand", "crypto/md5")
"""Of the library: those that solutions of HumanEval-X import."""
SETTINGS = "GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local"
FLAGS = "-vet=off"
FILES = (
    (
        "go.mod",
        """module box

go 1.18

require github.com/stretchr/testify v0.0.0

replace github.com/stretchr/testify => ./testify
""",
    ),
    ("testify/go.mod", "module github.com/stretchr/testify\n\ngo 1.18\n"),
    (
        "testify/assert/assert.go",
        """package assert

import (
	"reflect"
	"testing"
)

// Assertions has what the tests of HumanEval-X use of the module of this name.
type Assertions struct{ t *testing.T }

func New(t *testing.T) *Assertions { return &Assertions{t} }

func (a *Assertions) Equal(expected, actual interface{}, _ ...interface{}) bool {
	a.t.Helper()
	if !reflect.DeepEqual(expected, actual) {
		a.t.Fatalf("expected %v, got %v", expected, actual)
		return false
	}
	return true
}
""",
    ),
)
_USES_ALL = """package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
{imports})

func TestNothing(t *testing.T) {{ assert.New(t) }}
"""
_PATIENCE_SECONDS = 900.0
_made: dict[str, str] = {}
_one_at_a_time = threading.Lock()


def compiled_library() -> str:
    """A folder to read: what this process's first call compiled; it is gone with the process.

    :raises CoderLspError: the installation of Go does not work.
    """
    with _one_at_a_time:
        if "folder" not in _made:
            _made["folder"] = _compile()
        return _made["folder"]


def _compile() -> str:
    folder = tempfile.mkdtemp(prefix="coder-lsp-go-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    imports = "".join(f'\t_ "{name}"\n' for name in PACKAGES)
    for name, text in (*FILES, ("program_test.go", _USES_ALL.format(imports=imports))):
        path = Path(folder, "module", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    settings = dict(each.split("=", 1) for each in SETTINGS.split())
    library = Path(folder, "library")
    environment = os.environ | settings | {"GOCACHE": str(library), "GOPATH": f"{folder}/path"}
    done = subprocess.run(
        ["go", "test", FLAGS, "./..."],  # noqa: S607  # whichever is on the PATH is what runs the programs
        cwd=f"{folder}/module",
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE_SECONDS,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise CoderLspError(f"Go does not work here: {''.join(said)}", hint="mend it, or leave its tasks out")
    # Whoever runs the programs is to read it.
    for path in (Path(folder), library, *library.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return str(library)
