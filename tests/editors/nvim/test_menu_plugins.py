"""Beside the real nvim-cmp and blink.cmp, where a checkout of them is given: they are in no package registry."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

CMP = """
local folder = ...
vim.opt.runtimepath:append(folder .. "/nvim-cmp")
vim.opt.runtimepath:append(folder .. "/cmp-buffer")
local cmp = require("cmp")
require("cmp").register_source("buffer", require("cmp_buffer"))
cmp.setup({
  sources = { { name = "buffer" } },
  mapping = {
    ["<Tab>"] = cmp.mapping(function(go_on)
      if cmp.visible() then cmp.select_next_item() elseif not require("coder_lsp").accept() then go_on() end
    end, { "i" }),
    ["<C-y>"] = cmp.mapping.confirm({ select = true }),
    ["<C-e>"] = cmp.mapping.abort(),
  },
})
"""
BLINK = """
local folder = ...
vim.opt.runtimepath:append(folder .. "/blink.cmp")
require("blink.cmp").setup({
  fuzzy = { implementation = "lua" },
  sources = { default = { "buffer" } },
  completion = { list = { selection = { preselect = true, auto_insert = false } } },
  keymap = {
    preset = "none",
    ["<Tab>"] = { "select_next", function() return require("coder_lsp").accept() end, "fallback" },
    ["<C-y>"] = { "select_and_accept" },
    ["<C-e>"] = { "cancel", "fallback" },
  },
})
"""
VISIBLE = {
    "nvim-cmp": "require('cmp').visible()",
    "blink.cmp": "require('blink.cmp').is_menu_visible()",
}


@pytest.fixture(params=["nvim-cmp", "blink.cmp"])
def plugin(request):
    folder = os.environ.get("CODER_LSP_NVIM_MENUS")
    if not folder or not (Path(folder) / request.param).is_dir():
        pytest.skip(f"set CODER_LSP_NVIM_MENUS to a folder with checkouts of {request.param} (and cmp-buffer)")
    return request.param, folder


def with_its_menu(scripted, plugin, suggestion):
    """A Neovim with the plugin's menu open behind ``val``, and the question whether it still is."""
    name, folder = plugin
    nvim = scripted("value_of_all = 1\n\n")
    nvim.lua({"nvim-cmp": CMP, "blink.cmp": BLINK}[name], folder)
    nvim.script(items=[{"text": suggestion}])
    nvim.insert_at(1, 0)
    nvim.type("val")
    nvim.until(VISIBLE[name])
    return nvim, VISIBLE[name]


def test_ghost_text_and_the_menu_of_a_plugin_take_turns(scripted, plugin):
    nvim, visible = with_its_menu(scripted, plugin, "ue_of_all + 1")
    nvim.until_no_ghost()
    nvim.type("<C-e>")
    nvim.until(f"not {visible}")
    nvim.until_ghost("ue_of_all + 1")
    nvim.type("<Tab>")
    nvim.until("vim.api.nvim_get_current_line() == 'value_of_all + 1'")


def test_an_entry_of_the_menu_is_taken_by_its_own_key(scripted, plugin):
    nvim, visible = with_its_menu(scripted, plugin, "() + 1")
    nvim.type("<C-y>")
    nvim.until("vim.api.nvim_get_current_line() == 'value_of_all'")
    nvim.until(f"not {visible}")
    nvim.type("<C-g>u")
    nvim.until_ghost("() + 1")
