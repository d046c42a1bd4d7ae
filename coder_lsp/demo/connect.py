"""What to put into an editor's configuration to use the server: the last page of the demo."""

from __future__ import annotations


def how_to_connect(command: str) -> str:
    """Instructions that name ``command``, the way to start ``coder-lsp`` on this machine."""
    return f"""\
Connect your editor

  Neovim 0.12, in init.lua:

    vim.lsp.config("coder_lsp", {{ cmd = {{ "{command}", "serve" }}, root_markers = {{ ".git" }} }})
    vim.lsp.enable("coder_lsp")
    vim.lsp.inline_completion.enable()
    vim.keymap.set("i", "<Tab>", function()
      if not vim.lsp.inline_completion.get() then return "<Tab>" end
    end, {{ expr = true, desc = "Accept the suggestion" }})

  Helix, in languages.toml (suggestions appear in the completion menu):

    [language-server.coder-lsp]
    command = "{command}"
    args = ["serve"]

    [[language]]
    name = "python"
    language-servers = ["coder-lsp"]    # before or after the ones you have

  VS Code: an extension is planned. Any extension built on vscode-languageclient 11 can start the server today:
    {command} serve
"""
