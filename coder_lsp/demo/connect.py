"""What to put into an editor's configuration to use the server: the last page of the demo."""

from __future__ import annotations

from pathlib import Path

import coder_lsp


def editors_folder() -> Path | None:
    """The plugins of the checkout this package runs from; None where it was installed from elsewhere."""
    folder = Path(coder_lsp.__file__).parents[1] / "editors"
    return folder if (folder / "nvim" / "lua").is_dir() else None


def how_to_connect(command: str, editors: Path | None) -> str:
    """Instructions that name ``command``, the way to start ``coder-lsp`` on this machine, and where the plugins are."""
    plugins = str(editors) if editors is not None else "editors"
    where = "" if editors is not None else "\n  (`editors` is a folder of coder-lsp's repository)\n"
    return f"""\
Connect your editor
{where}
  VS Code: build the extension (Node 22 or newer), install it, and say where the server is:

    cd {plugins}/vscode && npm ci && npm run package && code --install-extension coder-lsp-*.vsix

    "coder-lsp.server.path": "{command}"

  Neovim 0.11 or newer, in init.lua:

    vim.opt.runtimepath:append("{plugins}/nvim")
    local coder = require("coder_lsp")
    coder.setup({{ cmd = {{ "{command}", "serve" }} }})
    vim.keymap.set("i", "<Tab>", function()
      if not coder.accept() then return "<Tab>" end
    end, {{ expr = true, desc = "Accept the suggestion, or a tab" }})

  Helix, in languages.toml (suggestions appear in the completion menu):

    [language-server.coder-lsp]
    command = "{command}"
    args = ["serve"]

    [[language]]
    name = "python"
    language-servers = ["coder-lsp"]    # before or after the ones you have

  Emacs and others: docs/editors.md
"""
