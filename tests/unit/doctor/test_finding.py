"""Findings: every problem has a fix, and a check that breaks is a finding itself."""

from __future__ import annotations

import pytest

from coder_lsp.doctor.finding import Finding, Status, fail, ok, run, warn
from coder_lsp.errors import ModelCorrupt


@pytest.mark.parametrize("status", [Status.WARN, Status.FAIL])
def test_a_problem_without_a_fix_is_refused(status):
    with pytest.raises(ValueError, match="has no fix"):
        Finding("memory", status, "too small")


def test_findings_come_through_in_order():
    found = [ok("a", "x"), warn("b", "y", "do z"), fail("c", "q", "do r")]
    assert list(run("any", lambda: found)) == found


def test_our_error_keeps_message_and_fix():
    def check():
        yield ok("before", "seen")
        raise ModelCorrupt("the file is truncated", hint="pull it again")

    assert list(run("model", check)) == [
        ok("before", "seen"),
        fail("model", "the file is truncated", "pull it again"),
    ]


def test_a_check_that_breaks_hides_nothing():
    def check():
        yield ok("before", "seen")
        raise RuntimeError("boom")

    first, second = run("model", check)
    assert first.status is Status.OK
    assert second.status is Status.FAIL
    assert "RuntimeError: boom" in second.detail
    assert "report" in second.fix
