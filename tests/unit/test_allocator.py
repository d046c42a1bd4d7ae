"""What the C library keeps of memory that was freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

BIG_THINGS_COME_AND_GO = """
import os, sys
from coder_lsp.allocator import give_back_what_is_free
from coder_lsp.bench.soak.held import held

if sys.argv[1] == "set up":
    give_back_what_is_free()
before = held(os.getpid()).memory_mb
small = []
for _ in range(4):
    big = bytearray(os.urandom(1 << 20)) * 20
    small.append(bytearray(2000))
    del big
print(held(os.getpid()).memory_mb - before)
"""


def kept_mb(how):
    command = [sys.executable, "-c", BIG_THINGS_COME_AND_GO, how]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="other C libraries are left alone")
def test_big_blocks_go_back_to_the_system():
    if kept_mb("as it comes") < 15:
        pytest.skip("this C library gives them back by itself")
    assert kept_mb("set up") < 5
