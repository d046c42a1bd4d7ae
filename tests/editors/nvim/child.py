"""A Neovim as a child process that a test types into and looks at, over ``--embed``."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PLUGIN = ROOT / "editors" / "nvim"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "coder-lsp-editors" / "nvim"
"""Where ``scripts/setup-nvim`` puts things by default."""
PYTHON_FOLDER = CACHE / "python"

PATIENCE_S = 60.0
"""The real model is loaded within; a test that waits longer has failed."""
POLL_S = 0.005

SCREEN = """
local rows = {}
for row = 1, vim.o.lines do
  local cells = {}
  for column = 1, vim.o.columns do
    cells[column] = vim.fn.screenstring(row, column)
  end
  rows[row] = (table.concat(cells):gsub("%s+$", ""))
end
return rows
"""

GHOST = """
local ns = vim.api.nvim_get_namespaces()["coder_lsp.ghost"]
local found = {}
for _, mark in ipairs(ns and vim.api.nvim_buf_get_extmarks(0, ns, 0, -1, { details = true }) or {}) do
  local details, text = mark[4], {}
  local function add(chunks)
    local line = {}
    for _, chunk in ipairs(chunks) do
      line[#line + 1] = chunk[1]
    end
    text[#text + 1] = table.concat(line)
  end
  if details.virt_text then
    add(details.virt_text)
  elseif details.virt_lines then
    text[1] = ""
  end
  for _, line in ipairs(details.virt_lines or {}) do
    add(line)
  end
  found[#found + 1] = {
    row = mark[2], col = mark[3], text = table.concat(text, "\\n"), group = details.hl_group,
  }
end
return found
"""


def program_of(version: str) -> str | None:
    """The Neovim of this version: by its variable, else where setup-nvim put it."""
    named = os.environ.get(f"CODER_LSP_NVIM_{version.replace('.', '_')}")
    if named:
        return named
    path = CACHE / "bin" / f"nvim-{version}"
    return str(path) if path.exists() else None


class Channel:
    """Calls of Neovim's API over the pipes of a child process; what it says besides (redraws) is read and dropped.

    pynvim does the same on an event loop of its own, which leaves open pipes behind and so fails a run in which
    warnings are errors.
    """

    def __init__(self, argv: list[str]) -> None:
        if str(PYTHON_FOLDER) not in sys.path:
            sys.path.append(str(PYTHON_FOLDER))
        import msgpack

        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._packer = msgpack.Packer()
        self._unpacker = msgpack.Unpacker(strict_map_key=False)
        self._calls = 0

    def call(self, method: str, *arguments: Any) -> Any:
        self._calls += 1
        assert self.process.stdin is not None
        self.process.stdin.write(self._packer.pack([0, self._calls, method, arguments]))
        self.process.stdin.flush()
        while True:
            for message in self._unpacker:
                if message[0] == 1 and message[1] == self._calls:
                    if message[2] is not None:
                        raise AssertionError(f"{method}: {message[2]}")
                    return message[3]
            self._unpacker.feed(self._read())

    def close(self) -> None:
        """Neovim ends when its channel does; its servers get a moment to end with it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(self._packer.pack([2, "nvim_command", ["silent! qall!"]]))
            self.process.stdin.flush()
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _read(self) -> bytes:
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        if not data:
            raise AssertionError("Neovim has ended")
        return data


class Neovim:
    """One process. Keys go in as a user types them; everything is waited for with a deadline."""

    def __init__(self, program: str, folder: Path) -> None:
        # -n: several editors may open one file; -i NONE: nothing of the user's.
        self.argv = [program, "--embed", "--headless", "--clean", "-n", "-i", "NONE"]
        # A Python file makes Neovim look for a Python with its module, which takes seconds.
        self.argv += ["--cmd", "let g:loaded_python3_provider = 0"]
        self.channel = Channel(self.argv)
        # A user interface, so that the screen is really drawn.
        self.channel.call("nvim_ui_attach", 100, 30, {"rgb": True, "ext_linegrid": True})
        self.folder = folder
        self.command(f"cd {folder}")
        self.lua(
            """
            messages = {}
            vim.notify = function(text, level) messages[#messages + 1] = { text, level or 2 } end
            vim.ui.select = function(items, options, choose)
              questions = questions or {}
              questions[#questions + 1] = {
                prompt = options.prompt,
                items = vim.tbl_map(options.format_item or tostring, items),
              }
              local answer = (answers and table.remove(answers, 1)) or 1
              choose(items[answer], answer)
            end
            """
        )

    def load(self, setup: dict[str, Any]) -> None:
        """What a package manager does, then what the user's configuration does."""
        self.command(f"set runtimepath^={PLUGIN}")
        self.command("runtime plugin/coder_lsp.lua")
        self.lua("require('coder_lsp').setup(...)", setup)

    def lua(self, code: str, *arguments: Any) -> Any:
        return self.channel.call("nvim_exec_lua", code, arguments)

    def command(self, command: str) -> None:
        self.channel.call("nvim_command", command)

    def edit(self, path: Path) -> None:
        self.command(f"edit {path}")

    def type(self, keys: str) -> None:
        """Type keys, in Neovim's notation (``<Esc>``, ``<lt>``)."""
        written = self.channel.call("nvim_input", keys)
        assert written == len(keys.encode()), "the input buffer is full"

    def until(self, condition: str, *arguments: Any, seconds: float = PATIENCE_S, why: str = "") -> Any:
        """Wait until the Lua expression is true; its value."""
        deadline = time.monotonic() + seconds
        while not (value := self.lua(f"return {condition}", *arguments)):
            if time.monotonic() > deadline:
                shown = "\n".join(self.screen())
                messages = self.lua("return messages")
                raise AssertionError(f"not within {seconds} s: {why or condition}\n{messages}\n{shown}")
            time.sleep(POLL_S)
        return value

    def attached(self) -> None:
        self.until("#vim.lsp.get_clients({ name = 'coder_lsp', bufnr = 0 }) == 1", why="the server attaches")

    def ready(self) -> None:
        """Wait for the model to be loaded."""
        self.attached()
        self.until("vim.list_contains({'ready', 'generating'}, require('coder_lsp').status_info().state)")

    def insert_at(self, row: int, column: int) -> None:
        """Insert mode before this byte column; rows count from 0."""
        self.lua(
            "local row, column = ... vim.api.nvim_win_set_cursor(0, { row + 1, column })"
            " vim.cmd(column >= #vim.api.nvim_get_current_line() and 'startinsert!' or 'startinsert')",
            row,
            column,
        )
        self.until("vim.api.nvim_get_mode().mode == 'i'")

    def marks(self) -> list[dict[str, Any]]:
        return self.lua(GHOST)

    def ghost(self) -> str:
        """All that is drawn, in order."""
        return "".join(mark["text"] for mark in self.marks())

    def until_ghost(self, text: str | None = None, seconds: float = PATIENCE_S) -> str:
        """Wait for ghost text: this one, or any."""
        deadline = time.monotonic() + seconds
        while not ((shown := self.ghost()) == text if text is not None else (shown := self.ghost())):
            if time.monotonic() > deadline:
                messages = self.lua("return messages")
                screen = "\n".join(self.screen())
                raise AssertionError(f"ghost text is {shown!r}, wanted {text!r}\n{messages}\n{screen}")
            time.sleep(POLL_S)
        return shown

    def until_no_ghost(self) -> None:
        self.until_ghost("")

    def text(self) -> str:
        return "\n".join(self.lua("return vim.api.nvim_buf_get_lines(0, 0, -1, false)"))

    def until_text(self, text: str) -> None:
        self.until("table.concat(vim.api.nvim_buf_get_lines(0, 0, -1, false), '\\n') == ...", text)

    def cursor(self) -> tuple[int, int]:
        row, column = self.lua("return vim.api.nvim_win_get_cursor(0)")
        return row - 1, column

    def screen(self) -> list[str]:
        self.command("redraw")
        return self.lua(SCREEN)

    def messages(self) -> list[str]:
        return [message[0] for message in self.lua("return messages")]

    def mode(self) -> str:
        return self.lua("return vim.api.nvim_get_mode().mode")

    # The scripted server's side.

    def script(self, **script: Any) -> None:
        """What the scripted server answers from now on."""
        self.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:notify('test/script', ...)", script)

    def log(self, *methods: str) -> list[dict[str, Any]]:
        """What the scripted server got and sent, in order; only these methods, if any are named."""
        answer = self.lua(
            "return vim.lsp.get_clients({ name = 'coder_lsp' })[1]:request_sync('test/log', {}, 10000).result"
        )
        return [entry for entry in answer if not methods or entry["method"] in methods]

    def until_logged(self, method: str, count: int = 1, seconds: float = 20) -> list[dict[str, Any]]:
        deadline = time.monotonic() + seconds
        while len(found := self.log(method)) < count:
            assert time.monotonic() < deadline, f"{count} {method} wanted, got {found}"
            time.sleep(POLL_S)
        return found

    def close(self) -> None:
        self.channel.close()
