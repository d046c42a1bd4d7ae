"""``coder-lsp version``."""

from __future__ import annotations

import json
import platform

from click.testing import CliRunner

from coder_lsp import __version__
from coder_lsp.cli.version import version


def test_json_names_what_decides_behaviour():
    found = json.loads(CliRunner().invoke(version, ["--json"]).output)
    assert found["coder-lsp"] == __version__
    assert found["python"] == platform.python_version()
    assert found["llama-cpp-python"]
    assert found["platform"]


def test_text_has_a_line_for_each():
    lines = CliRunner().invoke(version, []).output.splitlines()
    assert [line.split()[0] for line in lines] == ["coder-lsp", "python", "llama-cpp-python", "pygls", "platform"]
    assert lines[0].endswith(__version__)
