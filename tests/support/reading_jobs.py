"""Jobs for the indexer's pool that meet what real disks and files do; a worker process imports them."""

from __future__ import annotations

import os
import signal
import time

from coder_lsp.retrieval.record import read_file


def crash(folder, item):
    """A parser that dies of files with a certain name."""
    if "hostile" in item[0]:
        os.kill(os.getpid(), signal.SIGSEGV)
    return read_file(folder, item)


def delete_first(folder, item):
    """The file is gone between the walk and the reading."""
    if "fleeting" in item[0]:
        (folder.root / item[0]).unlink()
    return read_file(folder, item)


def dawdle(folder, item):
    """A very slow disk."""
    time.sleep(0.2)
    return read_file(folder, item)
