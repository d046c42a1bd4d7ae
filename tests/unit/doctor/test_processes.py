"""Running hosts, and the records of killed ones."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from coder_lsp.doctor.finding import Status
from coder_lsp.doctor.processes import check_hosts
from coder_lsp.host import address


def record(key, pid, created):
    address.write_endpoint(address.Endpoint(key, pid, created, "some-model", "unix"))


def test_none():
    (finding,) = check_hosts()
    assert finding.status is Status.OK
    assert "none" in finding.detail


def test_a_living_one_is_named_with_its_memory():
    record("a", os.getpid(), psutil.Process().create_time())
    (finding,) = check_hosts()
    assert finding.status is Status.OK
    assert f"process {os.getpid()} serves some-model" in finding.detail
    assert "MB" in finding.detail


def test_a_dead_one_is_a_warning():
    with subprocess.Popen((sys.executable, "-c", "")) as ended:
        pass
    record("b", ended.pid, 1.0)
    (finding,) = check_hosts()
    assert finding.status is Status.WARN


def test_a_number_that_another_process_has_now_is_no_host():
    record("c", os.getpid(), psutil.Process().create_time() - 1000)
    (finding,) = check_hosts()
    assert finding.status is Status.WARN
