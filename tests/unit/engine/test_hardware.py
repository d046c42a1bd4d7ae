"""Cores and memory of this machine, and of others shown as folders."""

from __future__ import annotations

import os

import psutil
import pytest

from coder_lsp.engine import hardware


@pytest.fixture
def machine(tmp_path):
    """``machine({"path": "text"})``: the root of a file system with these files."""

    def build(files):
        for path, text in files.items():
            target = tmp_path / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text)
        return tmp_path

    return build


@pytest.fixture
def affinity(monkeypatch):
    def allow(*cpus):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _pid: set(cpus), raising=False)
        monkeypatch.setattr(os, "cpu_count", lambda: 8)

    return allow


def siblings(pairs):
    return {
        f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list": ",".join(map(str, pair)) + "\n"
        for pair in pairs
        for cpu in pair
    }


FOUR_BY_TWO = [(0, 4), (1, 5), (2, 6), (3, 7)]


def test_this_machine_has_something_to_offer():
    found = hardware.detect()
    assert 1 <= found.cores.count <= (os.cpu_count() or 1)
    assert 0 < found.memory.available_bytes <= found.memory.total_bytes
    assert found.cores.reason
    assert found.memory.reason
    assert found.cpu.name in found.line()


def test_hyperthreads_count_once(machine, affinity):
    affinity(*range(8))
    assert hardware.cores(machine(siblings(FOUR_BY_TWO))) == hardware.Cores(4, "physical cores")


def test_affinity_narrows(machine, affinity):
    affinity(0, 1, 4)
    found = hardware.cores(machine(siblings(FOUR_BY_TWO)))
    assert (found.count, "affinity" in found.reason) == (2, True)


def test_efficiency_cores_are_left_out(machine, affinity):
    affinity(*range(8))
    root = machine({**siblings([(0, 1), (2, 3), (4,), (5,), (6,), (7,)]), "sys/devices/cpu_core/cpus": "0-3\n"})
    assert hardware.cores(root) == hardware.Cores(2, "performance cores")


@pytest.mark.parametrize(
    ("limit", "expected"), [("150000 100000", 1), ("50000 100000", 1), ("300000 100000", 3), ("max 100000", 4)]
)
def test_cgroup_quota(machine, affinity, limit, expected):
    affinity(*range(8))
    root = machine(
        {
            **siblings(FOUR_BY_TWO),
            "proc/self/cgroup": "0::/user.slice/box\n",
            "sys/fs/cgroup/user.slice/box/cpu.max": "max 100000\n",
            "sys/fs/cgroup/user.slice/cpu.max": limit,
        }
    )
    found = hardware.cores(root)
    assert found.count == expected
    assert ("cgroup" in found.reason) == (expected < 4)


def test_cgroup_quota_of_version_one(machine, affinity):
    affinity(*range(8))
    root = machine(
        {
            **siblings(FOUR_BY_TWO),
            "proc/self/cgroup": "4:cpu,cpuacct:/docker/abc\n3:memory:/docker/abc\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": str(2**63),
        }
    )
    assert hardware.cores(root) == hardware.Cores(2, "cgroup quota of 2 CPUs")


def test_cgroup_memory_counts_reclaimable_cache_as_free(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/box\n",
            "sys/fs/cgroup/box/memory.max": str(100 * 2**20),
            "sys/fs/cgroup/box/memory.current": str(80 * 2**20),
            "sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {30 * 2**20}\n",
        }
    )
    assert hardware.memory(root) == hardware.Memory(50 * 2**20, 100 * 2**20, "cgroup memory limit")


def test_a_full_cgroup_has_nothing_left(machine):
    root = machine(
        {
            "proc/self/cgroup": "0::/\n",
            "sys/fs/cgroup/memory.max": "1000",
            "sys/fs/cgroup/memory.current": "2000",
        }
    )
    assert hardware.memory(root).available_bytes == 0


def test_an_unlimited_cgroup_says_nothing(machine):
    root = machine({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max"})
    assert hardware.memory(root).total_bytes == psutil.virtual_memory().total


def test_cpu_name_and_the_flags_that_matter(machine):
    root = machine({"proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast One\nflags\t\t: fpu avx2 fma mmx\n"})
    assert hardware.cpu(root) == hardware.Cpu("Fast One", ("avx2", "fma"))


def test_arm_calls_its_flags_features(machine):
    root = machine({"proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd i8mm\n"})
    assert hardware.cpu(root).flags == ("asimd", "i8mm")
