"""What the VS Code extension does with a proposal's place and a model's Markdown, run by Node as it is shipped."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

EXTENSION = Path(__file__).parents[3] / "editors" / "vscode"
ESBUILD = EXTENSION / "node_modules" / ".bin" / "esbuild"
CALL = (
    "const calls = JSON.parse(process.argv[2]);"
    "const m = require(process.argv[1]);"
    "console.log(JSON.stringify(calls.map(([name, ...args]) => m[name](...args) ?? null)));"
)
GAP = "\u200b"


@pytest.fixture(scope="module")
def call(tmp_path_factory):
    node = shutil.which("node")
    if node is None or not ESBUILD.exists():
        pytest.skip("needs Node, and `npm ci` in editors/vscode")
    bundle = tmp_path_factory.mktemp("bundle") / "proposal.cjs"
    source = EXTENSION / "src" / "proposal.ts"
    subprocess.run([str(ESBUILD), str(source), "--format=cjs", f"--outfile={bundle}", "--log-level=error"], check=True)

    def run(name, *args):
        given = json.dumps([[name, *args]])
        command = [node, "-e", CALL, str(bundle), given]
        ended = subprocess.run(command, check=True, capture_output=True, encoding="utf-8")
        return json.loads(ended.stdout)[0]

    return run


def change(start, end, text):
    return {"rangeOffset": start, "rangeLength": end - start, "text": text}


PLACE = {"start": 10, "end": 20}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param([change(2, 2, "abc")], (13, 23), id="typed before"),
        pytest.param([change(2, 6, "")], (6, 16), id="deleted before"),
        pytest.param([change(25, 30, "x")], (10, 20), id="changed behind"),
        pytest.param([change(30, 31, "xx"), change(0, 1, "")], (9, 19), id="several cursors"),
        pytest.param([change(12, 13, "x")], None, id="inside"),
        pytest.param([change(5, 15, "x")], None, id="over its start"),
        pytest.param([change(0, 99, "")], None, id="all of it"),
        pytest.param([change(20, 20, "x")], None, id="touching its end"),
        pytest.param([change(10, 10, "x")], None, id="touching its start"),
    ],
)
def test_a_place_follows_edits_elsewhere_and_none_at_itself(call, changes, expected):
    moved = call("moved", PLACE, changes)
    assert (moved and (moved["start"], moved["end"])) == expected


def test_a_cursor_is_a_place_that_an_edit_there_takes(call):
    assert call("moved", {"start": 4, "end": 4}, [change(4, 4, "x")]) is None


def test_the_rest_of_the_text_stays(call):
    assert call("replaced", "one 🧮 two", {"start": 4, "end": 6}, "three") == "one three two"


@pytest.mark.parametrize(
    ("markdown", "expected"),
    [
        pytest.param("![a](https://x.example/a)", f"!{GAP}[a](https://x.example/a)", id="an image"),
        pytest.param('<img src="https://x.example">', f'<{GAP}img src="https://x.example">', id="a tag"),
        pytest.param("1 < 2, `a[0]`", "1 < 2, `a[0]`", id="no markup"),
        pytest.param("```cpp\n#include <map>\n```\n<b>", f"```cpp\n#include <map>\n```\n<{GAP}b>", id="fenced code"),
        pytest.param("```cpp\n#include <map>", "```cpp\n#include <map>", id="a fence that is still open"),
        pytest.param("~~~\n```\n<a>\n~~~\n<a>", f"~~~\n```\n<a>\n~~~\n<{GAP}a>", id="a fence in another"),
        pytest.param("  ```\n```\n<img>", f"  ```\n```\n<{GAP}img>", id="a fence off the margin trusts none"),
        pytest.param("- ```\n```\n<img>", f"- ```\n```\n<{GAP}img>", id="a fence in a list trusts none"),
        pytest.param("```a`b\n<img>", f"```a`b\n<{GAP}img>", id="no fence at all"),
    ],
)
def test_an_explanation_fetches_nothing_and_its_code_can_be_copied(call, markdown, expected):
    assert call("harmless", markdown) == expected
