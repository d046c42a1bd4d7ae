"""What the machine gives to the model."""

from __future__ import annotations

import pytest

from coder_lsp.doctor import machine
from coder_lsp.doctor.finding import Status
from coder_lsp.engine.hardware import Cores, Cpu


def test_this_machine_is_described():
    names = [finding.name for finding in (*machine.check_processor(), *machine.check_memory())]
    assert names == ["processor", "threads", "memory"]
    available, total = machine.memory_bytes()
    assert 0 < available <= total


@pytest.mark.parametrize(("flags", "status"), [(("avx", "avx2"), Status.OK), (("avx",), Status.WARN)])
def test_a_slow_x86_is_said_to_be_slow(monkeypatch, flags, status):
    monkeypatch.setattr(machine.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(machine.hardware, "cpu", lambda: Cpu("Some CPU", flags))
    assert next(iter(machine.check_processor())).status is status


@pytest.mark.parametrize(("count", "logical", "status"), [(1, 8, Status.WARN), (1, 1, Status.OK), (4, 8, Status.OK)])
def test_one_thread_of_many_is_a_warning_with_its_reason(monkeypatch, count, logical, status):
    monkeypatch.setattr(machine.hardware, "cores", lambda: Cores(count, "cgroup quota of 1 CPUs"))
    monkeypatch.setattr(machine.os, "cpu_count", lambda: logical)
    threads = list(machine.check_processor())[1]
    assert threads.status is status
    assert "cgroup quota" in threads.detail
