"""Beside completion menus, and beside Neovim's own inline completion. The server is scripted."""

from __future__ import annotations

import pytest


def test_no_ghost_text_under_a_menu(scripted):
    nvim = scripted("value\nval\n")
    nvim.command("set completeopt=menuone,noinsert,noselect")
    nvim.script(items=[{"text": "id()"}])
    nvim.insert_at(1, 3)
    nvim.until_ghost("id()")
    nvim.type("<C-n>")
    nvim.until("vim.fn.pumvisible() == 1")
    nvim.until_no_ghost()
    assert nvim.lua("return require('coder_lsp').accept()") is False
    nvim.type("<C-e>")
    nvim.until("vim.fn.pumvisible() == 0")
    nvim.until_ghost("id()")


@pytest.mark.parametrize(("hide", "shown"), [(False, "one\ntwo"), ("lines", "one")])
def test_a_menu_may_share_the_screen(scripted, hide, shown):
    nvim = scripted("value\nval\n", hide_when_menu_visible=hide)
    nvim.command("set completeopt=menuone,noinsert,noselect")
    nvim.script(items=[{"text": "one\ntwo"}])
    nvim.insert_at(1, 3)
    nvim.until_ghost("one\ntwo")
    nvim.type("<C-n>")
    nvim.until("vim.fn.pumvisible() == 1")
    nvim.until_ghost(shown)


@pytest.mark.parametrize(("module", "question"), [("cmp", "visible"), ("blink.cmp", "is_menu_visible")])
def test_menus_of_other_plugins_hide_it_as_well(scripted, module, question):
    """Their module as they load it, with what is asked of it; test_menu_plugins has the real ones."""
    nvim = scripted("x = \n")
    nvim.lua(
        "local module, question = ... package.loaded[module] = { [question] = function() return menu end }",
        module,
        question,
    )
    nvim.script(items=[{"text": "value"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("value")
    nvim.lua("menu = true vim.api.nvim_exec_autocmds('User', { pattern = 'BlinkCmpMenuOpen' })")
    nvim.until_no_ghost()
    nvim.lua("menu = false vim.api.nvim_exec_autocmds('User', { pattern = 'BlinkCmpMenuClose' })")
    nvim.until_ghost("value")


def test_neovims_own_inline_completion_does_not_show_it_twice(scripted, version):
    if version == "0.11":
        pytest.skip("0.11 has none")
    nvim = scripted("x = \n")
    nvim.lua("vim.lsp.inline_completion.enable()")
    nvim.script(items=[{"text": "value"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("value")
    nvim.type("<Esc>A")
    nvim.until_ghost("value")
    # The built-in asks 200 ms after it saw a key; the answer to a question of ours comes behind that one.
    nvim.lua("vim.wait(500)")
    builtin = nvim.lua(
        "local ns = vim.api.nvim_get_namespaces()['nvim.lsp.inline_completion']"
        " return ns and vim.api.nvim_buf_get_extmarks(0, ns, 0, -1, {}) or {}"
    )
    assert builtin == []
    assert nvim.screen()[0] == "x = value"
