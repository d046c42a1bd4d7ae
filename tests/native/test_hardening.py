"""The native modules are built so that a mistake in them ends the process where it could else be used: what the
compiler and linker were told is read back out of the files that run.
"""

from __future__ import annotations

import importlib
import os
import platform
import struct
import subprocess
import sys
from pathlib import Path

import pytest

NAMES = ("coder_lsp.engine._native", "coder_lsp.optimise._requantise", "coder_lsp.retrieval._bm25")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads ELF files")


class Elf:
    """Of a 64-bit little-endian ELF file: program headers, the dynamic section, dynamic symbols."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        assert self.data[:6] == b"\x7fELF\x02\x01", f"{path} is no 64-bit little-endian ELF file"
        offset, size, count = (
            struct.unpack_from("<Q", self.data, 32)[0],
            *struct.unpack_from("<HH", self.data, 54),
        )
        self.segments = []
        for number in range(count):
            kind, flags, at, address, _, length, room, _ = struct.unpack_from(
                "<IIQQQQQQ", self.data, offset + number * size
            )
            self.segments.append((kind, flags, at, address, length, room))
        self.dynamic = dict[int, int]()
        for tag, value in struct.iter_unpack("<qQ", self.of(2)):
            if tag == 0:
                break
            self.dynamic[tag] = value

    def of(self, kind: int) -> bytes:
        (found,) = [each for each in self.segments if each[0] == kind]
        return self.data[found[2] : found[2] + found[4]]

    def at(self, address: int) -> int:
        """The place in the file of an address in memory."""
        for kind, _, at, start, length, _ in self.segments:
            if kind == 1 and start <= address < start + length:
                return at + address - start
        raise AssertionError(address)

    def symbols(self) -> dict[str, tuple[int, int, int]]:
        """Name -> (binding, section, address); section 0 is another library's. ld writes the names behind the table."""
        table, strings = self.at(self.dynamic[6]), self.at(self.dynamic[5])
        found = {}
        for at in range(table, strings, 24):
            name, info, _, section, value = struct.unpack_from("<IBBHQ", self.data, at)
            end = self.data.index(b"\0", strings + name)
            found[self.data[strings + name : end].decode()] = (info >> 4, section, value)
        return found


@pytest.fixture(params=NAMES)
def path(request):
    if os.environ.get("CODER_LSP_SANITIZED"):
        pytest.skip("built with sanitizers, which stand in for some of this")
    return Path(importlib.import_module(request.param).__file__)


@pytest.fixture
def elf(path):
    return Elf(path)


def test_nothing_is_writable_and_executable_and_the_stack_is_not_executable(elf):
    """Code has segments of its own (separate-code), with no data to read in them."""
    loaded = [flags for kind, flags, *_ in elf.segments if kind == 1]
    assert all(flags & 3 != 3 for flags in loaded)
    assert 5 in loaded
    assert 4 in loaded, "data that is only read is not in the segment of the code"
    (stack,) = [flags for kind, flags, *_ in elf.segments if kind == 0x6474E551]
    assert not stack & 1


def test_addresses_of_functions_are_resolved_at_the_start_and_then_read_only(elf):
    """Full RELRO: the table that calls go through cannot be overwritten."""
    assert any(kind == 0x6474E552 for kind, *_ in elf.segments)
    assert elf.dynamic.get(30, 0) & 8 or elf.dynamic.get(0x6FFFFFFB, 0) & 1, "BIND_NOW"
    assert 22 not in elf.dynamic, "no text relocations"


def test_stack_and_buffers_are_checked(elf):
    """Canaries, and the checked forms of functions of the C library (_FORTIFY_SOURCE)."""
    foreign = {name for name, (_, section, _) in elf.symbols().items() if section == 0}
    assert "__stack_chk_fail" in foreign
    assert {name for name in foreign if name.endswith("_chk")}
    assert not foreign & {"strcpy", "strcat", "sprintf", "vsprintf", "gets"}


def test_only_the_module_itself_is_exported(elf):
    """Weak symbols are types of exceptions, which must be one type in all modules, and what the C++ library shares."""
    strong = {name for name, (binding, section, _) in elf.symbols().items() if section and binding == 1}
    assert {name for name in strong if name.startswith("PyInit_")} == strong
    assert len(strong) == 1


@pytest.mark.skipif(platform.machine() != "x86_64", reason="Intel's marks for indirect jumps")
def test_functions_begin_where_indirect_calls_may_land(elf):
    """-fcf-protection: `endbr64` first."""
    (begin,) = [value for name, (_, _, value) in elf.symbols().items() if name.startswith("PyInit_")]
    assert elf.data[elf.at(begin) :][:4] == b"\xf3\x0f\x1e\xfa"


def test_no_path_of_the_machine_that_built_it_is_in_it(path, elf):
    """And libraries are looked for beside the module and nowhere else."""
    root = Path(__file__).parents[2]
    for place in {root, Path.home(), Path(sys.prefix), Path(sys.base_prefix)} - {
        Path("/"),
        Path("/usr"),
        Path("/root"),
    }:
        assert os.fsencode(place) + b"/" not in elf.data, place
    assert b"/pip-build-env-" not in elf.data
    strings = elf.at(elf.dynamic[5])
    for tag in (15, 29):
        if tag in elf.dynamic:
            start = strings + elf.dynamic[tag]
            found = elf.data[start : elf.data.index(b"\0", start)].decode().split(":")
            assert all(part.startswith("$ORIGIN/") for part in found), found


def test_indexes_of_the_cxx_library_are_checked():
    """-D_GLIBCXX_ASSERTIONS, where hostile files are read: what it calls is in the modules that read them."""
    if os.environ.get("CODER_LSP_SANITIZED"):
        pytest.skip("built with sanitizers")
    for name in ("coder_lsp.engine._native", "coder_lsp.optimise._requantise"):
        data = Path(importlib.import_module(name).__file__).read_bytes()
        assert b"__glibcxx_assert_fail" in data or b"__replacement_assert" in data or b"_M_range_check" in data, name


def test_the_loader_accepts_them_with_all_relocations_at_once(path):
    done = subprocess.run(
        [sys.executable, "-c", f"import llama_cpp, importlib; importlib.import_module({path.name.split('.')[0]!r})"],
        env={**os.environ, "LD_BIND_NOW": "1", "PYTHONPATH": str(path.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
