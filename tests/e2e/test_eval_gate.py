"""``coder-lsp eval gate`` with the real default model: passes as it is, fails when the prompt is built wrongly."""

from __future__ import annotations

import json
import os

import pytest

BREAKS = """
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder


class Broken(MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name != "coder_lsp.prompt.builder":
            return None
        sys.meta_path.remove(self)
        import dataclasses
        from coder_lsp.prompt import templates

        Slot = templates.Slot
        templates.TEMPLATES = tuple(
            dataclasses.replace(each, layout=tuple({layout})) for each in templates.TEMPLATES
        )
        return PathFinder.find_spec(name, path, target)


sys.meta_path.insert(0, Broken())
"""
"""Put before everything else in every process that builds prompts: another layout, for all templates."""
SWAPPED = "{Slot.PREFIX: Slot.SUFFIX, Slot.SUFFIX: Slot.PREFIX}.get(piece, piece) for piece in each.layout"
WITHOUT_MIDDLE = "each.layout[:-1]"
GAPS = "30"
"""Enough to notice what is broken, in half the time."""


@pytest.mark.timeout(1800)
def test_completions_are_as_good_as_they_were(run):
    done = run("eval", "gate", "--json", timeout=1500)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["passed"]


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("layout", [SWAPPED, WITHOUT_MIDDLE], ids=["swapped", "without the middle token"])
def test_a_prompt_that_is_built_wrongly_is_noticed(run, tmp_path, monkeypatch, layout):
    (tmp_path / "sitecustomize.py").write_text(BREAKS.replace("{layout}", layout))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH")))))
    done = run("eval", "gate", "--limit", GAPS, "--json", timeout=1500)
    assert done.returncode == 1, done.stdout + done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert not verdict["passed"]
    assert verdict["exact"]["difference"] <= -0.1
