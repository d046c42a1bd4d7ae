"""A server that dies: what stands on screen goes, it comes back by itself a few times, and then a word says how."""

from __future__ import annotations

import os
import signal

import psutil
import pytest


def server() -> int:
    """The process of the only Neovim's server."""
    (found,) = [each for each in psutil.Process().children(recursive=True) if "serve" in each.cmdline()]
    return found.pid


def test_given_up_after_some_crashes_and_started_again_by_hand(scripted):
    nvim = scripted("x = \n", max_restarts=1)
    nvim.script(items=[{"text": "value"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("value")

    first = server()
    os.kill(first, signal.SIGKILL)
    nvim.until_no_ghost()
    nvim.until("#vim.lsp.get_clients({ name = 'coder_lsp', bufnr = 0 }) == 1")
    assert server() != first
    # Insert mode was never left; the new server is asked without a key.
    nvim.until_logged("textDocument/inlineCompletion")

    os.kill(server(), signal.SIGKILL)
    nvim.until("require('coder_lsp').status_info().state == 'error'")
    (message,) = [each for each in nvim.messages() if "ended 2 times" in each]
    assert "signal 9" in message
    assert ":CoderLsp restart" in message
    assert nvim.lua("return require('coder_lsp').status()") == "coder-lsp: error"
    nvim.lua("require('coder_lsp').accept()")

    nvim.type("<Esc>")
    nvim.command("CoderLsp restart")
    nvim.attached()
    nvim.script(items=[{"text": "again"}])
    nvim.type("A")
    nvim.until_ghost("again")


def test_a_pause_is_told_to_the_server_that_comes_after_a_crash(scripted, tmp_path):
    nvim = scripted("x = \n")
    nvim.command("CoderLsp pause buffer")
    os.kill(server(), signal.SIGKILL)
    nvim.until("#vim.lsp.get_clients({ name = 'coder_lsp', bufnr = 0 }) == 0")
    nvim.attached()
    (entry,) = nvim.until_logged("workspace/executeCommand")
    assert entry["params"] == {"command": "coder-lsp.pause", "arguments": [(tmp_path / "a.py").as_uri()]}


@pytest.mark.parametrize("how", ["gently", "by force", "by somebody else"])
def test_a_server_that_is_told_to_stop_stays_stopped(scripted, how):
    nvim = scripted("x = \n")
    if how == "by somebody else":
        os.kill(server(), signal.SIGTERM)
    else:
        nvim.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:stop(...)", how == "by force")
    nvim.until("#vim.lsp.get_clients({ name = 'coder_lsp' }) == 0")
    nvim.until("require('coder_lsp').status_info().state == 'off'")
    assert [message for message in nvim.messages() if "coder-lsp" in message] == []
