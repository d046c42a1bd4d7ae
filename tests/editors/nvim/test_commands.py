""":CoderLsp, setup, health and installing: what a user does about the plugin itself. The server is scripted."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
from editors.nvim.child import PLUGIN


def test_setup_tells_all_faults_in_one_message_and_the_rest_works(scripted):
    nvim = scripted(
        "x = \n",
        automtic=True,
        icons="yes",
        max_restarts=-1,
        hide_when_menu_visible="maybe",
        disabled_filetypes=["lua"],
    )
    (message,) = nvim.messages()
    assert "4 options cannot be used" in message
    assert "unknown option `automtic`, did you mean `automatic`?" in message
    assert '`icons` must be true or false, not "yes"' in message
    assert "`max_restarts` must be a whole number from 0 to 100, not -1" in message
    assert '`hide_when_menu_visible` must be true, false or "lines", not "maybe"' in message
    # What could be used is.
    assert nvim.lua("return require('coder_lsp.config').current.disabled_filetypes") == ["lua"]
    nvim.script(items=[{"text": "value"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("value")


def test_setup_with_something_that_is_no_table(start, tmp_path):
    nvim = start(tmp_path)
    nvim.lua("messages = {} require('coder_lsp').setup(7)")
    assert nvim.messages() == [
        "coder-lsp: an option cannot be used, the defaults stand in:\n- setup takes a table, not 7"
    ]


def test_only_settings_that_were_made_are_sent(scripted):
    nvim = scripted("x\n", settings={"completion": {"multiline": False}})
    settings = nvim.lua("return vim.lsp.get_clients({ name = 'coder_lsp' })[1].settings")
    assert settings == {"coder-lsp": {"completion": {"multiline": False}}}
    nvim = scripted("x\n")
    assert not nvim.lua("return vim.lsp.get_clients({ name = 'coder_lsp' })[1].settings")


def test_file_types_that_are_left_alone(scripted, tmp_path):
    nvim = scripted("x\n", disabled_filetypes=["lua"])
    (tmp_path / "b.lua").write_text("x\n")
    nvim.edit(tmp_path / "b.lua")
    left_alone = nvim.lua("return vim.api.nvim_get_current_buf()")
    (tmp_path / "c.py").write_text("x\n")
    nvim.edit(tmp_path / "c.py")
    nvim.attached()
    assert nvim.lua("return #vim.lsp.get_clients({ name = 'coder_lsp', bufnr = ... })", left_alone) == 0
    nvim.edit(tmp_path / "b.lua")
    assert nvim.lua("return require('coder_lsp').status_info().attached") is False


def test_without_setup_enabling_the_server_is_enough(start, tmp_path, monkeypatch):
    """As with any server: lsp/coder_lsp.lua is found on the runtime path, the program on the PATH."""
    program = tmp_path / "bin" / "coder-lsp"
    program.parent.mkdir()
    scripted = Path(__file__).with_name("scripted_server.py")
    program.write_text(f"#!/bin/sh\nexec {sys.executable} {scripted} serve utf-16\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tmp_path / "a.py").write_text("x = \n")
    package = tmp_path / "site" / "pack" / "coder" / "opt"
    package.mkdir(parents=True)
    (package / "coder-lsp").symlink_to(PLUGIN)
    nvim = start(tmp_path, load=False)
    nvim.command(f"set packpath^={tmp_path / 'site'}")
    assert nvim.lua("return vim.fn.exists(':CoderLsp')") == 0
    nvim.command("packadd coder-lsp")
    assert nvim.lua("return vim.fn.exists(':CoderLsp')") == 2
    loaded = nvim.lua(
        "return vim.tbl_filter(function(n) return n:find('^coder_lsp') end, vim.tbl_keys(package.loaded))"
    )
    assert loaded == [], "something was loaded before it was used"
    nvim.command("lua vim.lsp.enable('coder_lsp')")
    nvim.edit(tmp_path / "a.py")
    nvim.attached()
    nvim.script(items=[{"text": "value"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("value")


def test_a_server_that_is_not_there_is_said_once_with_the_way_out(start, tmp_path):
    (tmp_path / "a.py").write_text("x\n")
    (tmp_path / "b.py").write_text("x\n")
    nvim = start(tmp_path, setup={"cmd": ["/nowhere/coder-lsp", "serve"]})
    nvim.edit(tmp_path / "a.py")
    nvim.until("#messages > 0")
    nvim.edit(tmp_path / "b.py")
    (message,) = nvim.messages()
    assert "/nowhere/coder-lsp" in message
    assert ":CoderLsp install" in message
    assert nvim.lua("return require('coder_lsp').status()") == ""


def test_sub_commands_are_completed(scripted):
    nvim = scripted(
        "x\n",
    )
    complete = "return vim.fn.getcompletion(..., 'cmdline')"
    names = nvim.lua(complete, "CoderLsp ")
    assert {"status", "pause", "resume", "model", "context", "log", "restart", "doctor", "stats", "install"} <= set(
        names
    )
    assert nvim.lua(complete, "CoderLsp pa") == ["pause"]
    assert nvim.lua(complete, "CoderLsp pause ") == ["buffer", "filetype", "all"]
    nvim.command("CoderLsp nonsense")
    assert "no sub-command nonsense" in nvim.messages()[-1]
    nvim.command("CoderLsp pause everything")
    assert "not everything" in nvim.messages()[-1]


def test_status_line_and_event(scripted):
    nvim = scripted("x\n")
    nvim.until("require('coder_lsp').status() == 'coder-lsp: ready'")
    nvim.lua(
        """
        events = 0
        vim.api.nvim_create_autocmd("User", { pattern = "CoderLspStatus", callback = function()
          events = events + 1
        end })
        """
    )
    status = {"state": "loading", "model": "m", "engine": "e", "message": "", "progress": 0.436, "offline": True}
    nvim.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:notify('test/status', ...)", status)
    nvim.until("require('coder_lsp').status() == 'coder-lsp: loading 43%, offline'")
    nvim.until("events > 0")
    info = nvim.lua("return require('coder_lsp').status_info()")
    assert (info["state"], info["percent"], info["offline"], info["model"]) == ("loading", 43, True, "m")
    nvim.command("set laststatus=2 statusline=%{v:lua.require'coder_lsp'.status()}")
    assert "coder-lsp: loading 43%, offline" in nvim.screen()[-2]


def test_a_refusal_is_shown_in_one_line(scripted):
    nvim = scripted("x\n")
    nvim.script(replies={"coder-lsp.stats": {"error": "no statistics are kept here"}})
    nvim.command("CoderLsp stats")
    nvim.until("#messages > 0")
    assert nvim.messages() == ["coder-lsp: no statistics are kept here"]


def test_a_pull_that_is_refused_or_stopped(scripted):
    nvim = scripted("x\n")
    model = {"name": "big", "installed": False, "verified": False, "bytes": 5_000_000_000, "licence": "MIT"}
    replies = {"coder-lsp.models": {"models": [model]}, "coder-lsp.pullModel": {"error": "no network. Connect first"}}
    nvim.script(replies=replies)
    nvim.command("CoderLsp model big")
    nvim.until("#messages > 0")
    (question,) = nvim.lua("return questions")
    assert question["prompt"] == ("Pull big (5.0 GB, licence MIT), whose digest nobody vouches for, from the network?")
    asked = nvim.log("workspace/executeCommand")[-1]["params"]
    assert asked["arguments"] == ["big", {"allowUnverified": True}]
    assert asked["workDoneToken"]
    assert nvim.messages() == ["coder-lsp: no network. Connect first"]
    assert nvim.lua("return require('coder_lsp').status_info().state") == "ready"
    nvim.command("CoderLsp model cancel")
    assert "no model is being pulled" in nvim.messages()[-1]


def test_health_says_what_is_and_what_to_do(scripted, version):
    nvim = scripted("x = \n", icons="yes")
    nvim.script(
        replies={
            "coder-lsp.status": {"state": "ready", "model": "m", "paused": False, "offline": False},
            "coder-lsp.chooseModel": {"current": "m", "models": ["other"]},
        }
    )
    nvim.lua("package.loaded['copilot.suggestion'] = {}")
    nvim.lua("vim.keymap.set('i', '<Tab>', function() end, { desc = 'Something else' })")
    if version == "0.12":
        nvim.lua("vim.lsp.inline_completion.enable()")
    nvim.command("checkhealth coder_lsp")
    report = nvim.text()
    assert f"Neovim {version}" in report
    assert "`icons` must be true or false" in report
    assert "coder-lsp  scripted" in report
    assert "positions in utf-16" in report
    assert "model host: ready, m" in report
    assert "model not installed: m" in report
    assert ":CoderLsp model m" in report
    assert "also draws ghost text: copilot.lua" in report
    assert "Something else" in report
    assert "no mapping that accepts a suggestion was found" in report
    if version == "0.12":
        assert "inline completion" in report


def test_installing_asks_and_makes_an_environment_of_its_own(start, tmp_path):
    """From a package made here, with a program of the right name; the real one takes minutes to compile."""
    package = tmp_path / "package"
    (package / "stand_in").mkdir(parents=True)
    (package / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "coder-lsp"\nversion = "0"\n'
    )
    (package / "backend.py").write_text(BACKEND)
    (tmp_path / "a.py").write_text("x\n")
    nvim = start(tmp_path, load=False)
    nvim.lua("vim.env.PATH = '/usr/bin:/bin'")
    nvim.command(f"set runtimepath^={PLUGIN}")
    nvim.command("runtime plugin/coder_lsp.lua")
    nvim.lua("require('coder_lsp.server').checkout = function() end")
    nvim.lua("require('coder_lsp').setup(...)", {"install": {"python": sys.executable, "source": str(package)}})
    venv = nvim.lua("return require('coder_lsp.server').private_venv()")

    nvim.lua("answers = { 2 }")
    nvim.command("CoderLsp install")
    (question,) = nvim.lua("return questions")
    assert question["prompt"] == f"Install coder-lsp from {package} into {venv}?"
    assert not Path(venv).exists(), "it was made although the answer was no"

    nvim.lua("answers = { 1 }")
    nvim.command("CoderLsp install")
    nvim.until("vim.iter(messages):any(function(m) return m[1]:find('installed in') or m[1]:find('failed') end)")
    assert not any("failed" in message for message in nvim.messages()), nvim.messages()
    assert nvim.lua("return (require('coder_lsp.server').find())") == [f"{venv}/bin/coder-lsp"]


def test_an_installation_that_fails_says_where_to_read_why(start, tmp_path):
    nvim = start(tmp_path, setup={"install": {"python": sys.executable, "source": str(tmp_path / "nothing")}})
    nvim.command("CoderLsp install")
    nvim.until("vim.iter(messages):any(function(m) return m[1]:find('failed') end)")
    message = nvim.messages()[-1]
    assert "installing" in message
    assert "coder-lsp-install.log" in message


def test_doctor_runs_in_a_window(scripted):
    nvim = scripted("x\n")
    nvim.command("CoderLsp doctor --json")
    nvim.until("vim.bo.buftype == 'terminal'")
    nvim.until("table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), ' '):find('doctor %-%-json')")


def test_the_log_is_opened(scripted, tmp_path):
    log = tmp_path / "server.log"
    log.write_text("one\ntwo\n")
    nvim = scripted("x\n")
    nvim.script(replies={"coder-lsp.showLog": {"path": str(log)}})
    nvim.command("CoderLsp log")
    nvim.until("vim.api.nvim_buf_get_name(0) == ...", str(log))
    assert nvim.cursor()[0] == 1


def test_help_has_its_tags(start, tmp_path):
    nvim = start(tmp_path)
    copy = tmp_path / "doc"
    copy.mkdir()
    (copy / "coder_lsp.txt").write_text((PLUGIN / "doc" / "coder_lsp.txt").read_text())
    nvim.command(f"helptags {copy}")
    tags = {line.split("\t")[0] for line in (copy / "tags").read_text().splitlines()}
    assert {"coder-lsp", ":CoderLsp", "coder-lsp-mappings", "<Plug>(coder-lsp-accept)", "coder-lsp-options"} <= tags
    # Every sub-command and every option has its place in the help.
    text = (PLUGIN / "doc" / "coder_lsp.txt").read_text()
    for name in nvim.lua("return vim.tbl_keys(require('coder_lsp.commands').all)"):
        assert name in text
    for name in nvim.lua("return vim.tbl_keys(require('coder_lsp.config').options)"):
        assert f"\n{name} " in text, name
    for name in nvim.lua("return vim.tbl_keys(require('coder_lsp.config').options)"):
        assert name in (PLUGIN / "README.md").read_text(), name


BACKEND = '''
"""Builds a wheel with one program, without anything that would have to be fetched."""
import zipfile

PROGRAM = "import sys\\nsys.exit(0)\\n"


def build_wheel(folder, config_settings=None, metadata_directory=None):
    name = "coder_lsp-0-py3-none-any.whl"
    info = "coder_lsp-0.dist-info"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("stand_in_program.py", "def main():\\n    return 0\\n")
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: coder-lsp\\nVersion: 0\\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr(f"{info}/entry_points.txt", "[console_scripts]\\ncoder-lsp = stand_in_program:main\\n")
        wheel.writestr(f"{info}/RECORD", "")
    return name


def get_requires_for_build_wheel(config_settings=None):
    return []
'''


@pytest.mark.parametrize("tool", ["stylua", "luacheck"])
def test_lua_is_clean(tool):
    import subprocess

    from editors.nvim.child import CACHE

    program = CACHE / "bin" / tool
    if not program.exists():
        pytest.skip(f"no {tool}: run scripts/setup-nvim")
    arguments = ["--check", "."] if tool == "stylua" else ["."]
    finished = subprocess.run(
        [program, *arguments], cwd=PLUGIN, check=False, capture_output=True, text=True, timeout=120
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
