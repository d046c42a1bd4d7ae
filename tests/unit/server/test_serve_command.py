"""The options of ``coder-lsp serve``, and what importing the server must not load."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import click
import pytest
from support.lsp_client import environment

from coder_lsp.cli.serve import configure_logging, serve
from coder_lsp.errors import InputError


@pytest.fixture
def loggers_as_before() -> object:
    root, pygls = logging.getLogger(), logging.getLogger("pygls")
    before = (root.level, list(root.handlers), pygls.level)
    # What basicConfig(force=True) finds it closes.
    root.handlers.clear()
    yield
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    pygls.setLevel(before[2])


def test_two_ways_to_connect_exclude_one_another() -> None:
    with pytest.raises(click.UsageError, match="exclude one another"):
        serve.main(["--stdio", "--tcp", "127.0.0.1:0"], standalone_mode=False)


def test_a_log_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write the log file"):
        configure_logging(tmp_path / "file" / "log", "info")


def test_pygls_logs_nothing(tmp_path: Path, loggers_as_before: object) -> None:
    """Its lines hold whole messages, and its exceptions the values in them."""
    log = tmp_path / "log"
    configure_logging(log, "debug")
    logging.getLogger("pygls.protocol.json_rpc").error("secret")
    logging.getLogger("coder_lsp.server").info("said")
    assert log.read_text().endswith("INFO coder_lsp.server: said\n")
    assert "secret" not in log.read_text()


def test_importing_the_server_loads_no_model_library_and_no_network() -> None:
    heavy = ["torch", "llama_cpp", "huggingface_hub", "tree_sitter", "tree_sitter_language_pack", "rich", "numpy"]
    code = (
        "import sys, coder_lsp.server.server, coder_lsp.server.transport, coder_lsp.cli.serve\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
