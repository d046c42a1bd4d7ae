"""Instructions: what is asked of the server, the change that is shown until the user takes or drops it, the windows.

The server is scripted, save in the last test.
"""

from __future__ import annotations

import pytest

TEXT = "def total(xs):\n    return sum(xs)\n\n\nprint(total([1]))\n"
BODY = {"start": {"line": 1, "character": 0}, "end": {"line": 1, "character": 18}}
NEW = "    if not xs:\n        return 0\n    return sum(xs)"
REWRITES = {"range": BODY, "texts": ["    if not xs:"], "answer": {"text": NEW}}
AFTER = TEXT.replace("    return sum(xs)", NEW).rstrip("\n")

SHOWN = """
local ns = vim.api.nvim_get_namespaces()["coder_lsp.edit"]
local added, removed = {}, {}
for _, mark in ipairs(ns and vim.api.nvim_buf_get_extmarks(0, ns, 0, -1, { details = true }) or {}) do
  local details = mark[4]
  for _, line in ipairs(details.virt_lines or {}) do
    added[#added + 1] = { mark[2], line[1][1], line[1][2] }
  end
  if details.hl_group then
    removed[#removed + 1] = { mark[2], mark[3], details.end_row, details.end_col, details.hl_group }
  end
end
return { added, removed }
"""


def added(nvim) -> list[str]:
    """The new lines that are drawn, without the note below them."""
    return [text for _, text, group in nvim.lua(SHOWN)[0] if group == "CoderLspAdded"]


def note(nvim) -> str:
    return next((text for _, text, group in nvim.lua(SHOWN)[0] if group != "CoderLspAdded"), "")


def until_written(nvim) -> None:
    """The change is complete, and said to be."""
    nvim.lua("shown_script = ...", SHOWN)
    nvim.until(
        "(function() for _, line in ipairs(loadstring(shown_script)()[1]) do"
        " if line[2]:find('puts it in', 1, true) then return true end end end)()",
        why="the change is complete",
    )


def asked(nvim) -> dict:
    """The argument of the last command."""
    return nvim.until_logged("workspace/executeCommand")[-1]["params"]["arguments"][0]


def rewritten(scripted, **setup):
    nvim = scripted(TEXT, **setup)
    nvim.script(writes=REWRITES)
    nvim.command("2CoderLsp rewrite without items it is zero")
    until_written(nvim)
    return nvim


def test_a_change_is_shown_while_it_is_written_and_the_text_stays(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes=REWRITES, hold=True)
    nvim.command("2CoderLsp rewrite without items it is zero")
    nvim.until("require('coder_lsp.edit').visible()")
    nvim.until_logged("workspace/executeCommand")
    nvim.until("#vim.api.nvim_buf_get_extmarks(0, vim.api.nvim_get_namespaces()['coder_lsp.edit'], 0, -1, {}) == 2")
    assert added(nvim) == ["    if not xs:"]
    assert note(nvim) == "coder-lsp is writing; :CoderLsp dismiss-edit stops it"
    assert nvim.lua(SHOWN)[1] == [[1, 0, 1, 18, "CoderLspRemoved"]]
    assert "    if not xs:" in nvim.screen()
    assert nvim.text() == TEXT.rstrip("\n")
    nvim.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:notify('test/release', {})")
    until_written(nvim)
    assert added(nvim) == NEW.split("\n")
    assert note(nvim) == ":CoderLsp accept-edit puts it in, :CoderLsp dismiss-edit drops it"
    assert nvim.text() == TEXT.rstrip("\n")


def test_what_the_server_is_asked(scripted):
    nvim = rewritten(scripted)
    argument = asked(nvim)
    assert argument["range"] == BODY
    assert argument["instruction"] == "without items it is zero"
    assert (argument["apply"], argument["outline"]) == (False, False)
    nvim.lua("vim.api.nvim_win_set_cursor(0, { 3, 0 })")
    nvim.command("CoderLsp! generate a function that counts")
    argument = nvim.until_logged("workspace/executeCommand", 2)[-1]["params"]["arguments"][0]
    assert argument["range"] == {"start": {"line": 2, "character": 0}, "end": {"line": 2, "character": 0}}
    assert argument["outline"] is True


def test_a_selection_of_characters_is_asked_about_in_the_units_of_the_protocol(scripted):
    nvim = scripted("s = '𝄞ä' + name\n")
    nvim.script(writes={"range": BODY, "answer": {"text": "x", "reason": "not today"}})
    nvim.command("normal! 0f𝄞vl\x1b")
    nvim.command("'<,'>CoderLsp rewrite shorter")
    assert asked(nvim)["range"] == {"start": {"line": 0, "character": 5}, "end": {"line": 0, "character": 8}}
    nvim.until("#messages > 0")
    assert nvim.messages() == ["coder-lsp: not today"]
    assert nvim.lua("return require('coder_lsp.edit').visible()") is False


def test_accepting_is_one_step_of_undo(scripted):
    nvim = rewritten(scripted)
    nvim.command("CoderLsp accept-edit")
    nvim.until_text(AFTER)
    assert nvim.lua(SHOWN) == [[], []]
    assert nvim.cursor() == (1, 4)
    nvim.type("u")
    nvim.until_text(TEXT.rstrip("\n"))


def test_accepting_in_insert_mode_is_a_step_of_its_own(scripted):
    nvim = rewritten(scripted)
    nvim.lua("vim.keymap.set('i', '<C-j>', function() require('coder_lsp').accept_edit() end, { expr = true })")
    nvim.insert_at(4, 0)
    nvim.type("# <C-j>")
    nvim.until_text(AFTER.replace("print", "# print"))
    nvim.type("<Esc>u")
    nvim.until_text(TEXT.rstrip("\n").replace("print", "# print"))


def test_a_key_can_be_shared_by_an_expression_mapping(scripted):
    nvim = rewritten(scripted)
    nvim.lua(
        "vim.keymap.set('n', '<Tab>', function()"
        " if not require('coder_lsp').accept_edit() then return 'x' end end, { expr = true })"
    )
    nvim.type("<Tab>")
    nvim.until_text(AFTER)
    nvim.type("<Tab>")
    nvim.until_text(AFTER.replace("if not", "f not"))


def test_keys_are_taken_only_while_a_change_is_there(scripted):
    nvim = scripted(TEXT, edit_keys={"accept": "<CR>", "dismiss": "<Esc>"})
    nvim.lua("vim.keymap.set('n', '<CR>', 'x', { buffer = true, desc = 'mine' })")
    described = "return { vim.fn.maparg('<CR>', 'n', false, true).desc, vim.fn.maparg('<Esc>', 'n', false, true).desc }"
    assert nvim.lua(described) == ["mine"]
    nvim.script(writes=REWRITES)
    for key, text in (("<Esc>", TEXT.rstrip("\n")), ("<CR>", AFTER)):
        nvim.command("2CoderLsp rewrite without items it is zero")
        until_written(nvim)
        assert note(nvim) == "<CR> puts it in, <Esc> drops it"
        assert nvim.lua(described) == ["coder-lsp: accept the model's change", "coder-lsp: dismiss the model's change"]
        nvim.type(key)
        nvim.until("not require('coder_lsp.edit').visible()")
        nvim.until_text(text)
        assert nvim.lua(described) == ["mine"]


def test_without_a_change_the_commands_say_so(scripted):
    nvim = scripted(TEXT)
    assert nvim.lua("return require('coder_lsp').accept_edit()") is False
    assert nvim.lua("return require('coder_lsp').dismiss_edit()") is False
    assert nvim.lua("return require('coder_lsp').stop()") is False
    said = nvim.channel.call("nvim_exec2", "CoderLsp accept-edit", {"output": True})["output"]
    assert said == "coder-lsp: no change is shown"


@pytest.mark.parametrize("command", ["dismiss-edit", "stop"])
def test_dismissing_stops_the_model(scripted, command):
    nvim = scripted(TEXT)
    nvim.script(writes=REWRITES, hold=True)
    nvim.command("2CoderLsp rewrite shorter")
    (request,) = nvim.until_logged("workspace/executeCommand")
    nvim.command(f"CoderLsp {command}")
    (cancelled,) = nvim.until_logged("$/cancelRequest")
    assert cancelled["params"]["id"] == request["id"]
    assert nvim.lua(SHOWN) == [[], []]
    assert nvim.text() == TEXT.rstrip("\n")
    assert nvim.messages() == []


def test_a_new_instruction_stops_the_one_before(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes=REWRITES, hold=True)
    nvim.command("2CoderLsp rewrite shorter")
    nvim.until_logged("workspace/executeCommand")
    nvim.command("2CoderLsp rewrite longer")
    nvim.until_logged("workspace/executeCommand", 2)
    assert len(nvim.until_logged("$/cancelRequest")) == 1
    nvim.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:notify('test/release', {})")
    until_written(nvim)


def test_the_place_moves_with_the_text(scripted):
    nvim = rewritten(scripted)
    nvim.lua("vim.api.nvim_buf_set_lines(0, 0, 0, false, { 'import os', '' })")
    nvim.command("CoderLsp accept-edit")
    nvim.until_text(f"import os\n\n{AFTER}")


def test_a_text_that_was_changed_there_is_left_alone_and_nothing_is_lost(scripted):
    nvim = rewritten(scripted)
    nvim.lua("vim.api.nvim_buf_set_text(0, 1, 4, 1, 10, { 'yield' })")
    changed = nvim.text()
    nvim.lua("source = vim.api.nvim_get_current_buf()")
    nvim.command("CoderLsp accept-edit")
    nvim.until("#messages > 0")
    assert nvim.messages() == [
        "coder-lsp: the text was changed there meanwhile; what the model wrote is in a window of its own"
    ]
    assert nvim.text() == NEW
    assert nvim.lua("return vim.bo.buftype") == "nofile"
    assert nvim.lua("return table.concat(vim.api.nvim_buf_get_lines(source, 0, -1, false), '\\n')") == changed


@pytest.mark.parametrize(
    ("line", "text", "after"),
    [
        (5, "\n# done", f"{TEXT}# done"),
        (2, "\n    # done", TEXT.replace("(xs)\n\n", "(xs)\n    # done\n\n").rstrip("\n")),
    ],
)
def test_new_code_goes_below_the_cursors_line(scripted, line, text, after):
    nvim = scripted(TEXT)
    length = len(TEXT.split("\n")[line - 1])
    place = {"line": line - 1, "character": length}
    nvim.script(writes={"range": {"start": place, "end": place}, "answer": {"text": text}})
    nvim.lua("vim.api.nvim_win_set_cursor(0, { ..., 0 })", line)
    nvim.command("CoderLsp generate a comment")
    until_written(nvim)
    assert added(nvim) == [text.lstrip("\n")]
    nvim.command("CoderLsp accept-edit")
    nvim.until_text(after)


def test_whole_lines_up_to_the_end_of_the_file(scripted):
    """The server's range may end behind the last line's end, which Neovim has no place for."""
    nvim = scripted("a\nb\n")
    nvim.script(
        writes={
            "range": {"start": {"line": 1, "character": 0}, "end": {"line": 2, "character": 0}},
            "answer": {"text": "c\nd\n"},
        }
    )
    nvim.command("2CoderLsp rewrite otherwise")
    until_written(nvim)
    nvim.command("CoderLsp accept-edit")
    nvim.until_text("a\nc\nd")


def test_rewriting_asks_how(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes=REWRITES)
    nvim.lua("vim.ui.input = function(options, done) asked_for = options.prompt done(reply) end")
    nvim.command("2CoderLsp rewrite")
    assert nvim.lua("return asked_for") == "Rewrite how? "
    assert nvim.log("workspace/executeCommand") == []
    nvim.lua("reply = 'zero if empty'")
    nvim.command("2CoderLsp rewrite")
    assert asked(nvim)["instruction"] == "zero if empty"


def test_an_explanation_grows_in_a_window_and_stays_where_it_is_stopped(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes={"range": BODY, "texts": ["It", "It adds\n\nall."], "answer": {"text": "-"}}, hold=True)
    nvim.command("2CoderLsp explain")
    nvim.until_text("It adds\n\nall.")
    assert nvim.lua("return { vim.bo.filetype, vim.bo.buftype, vim.bo.modifiable }") == ["markdown", "nofile", False]
    nvim.command("CoderLsp stop")
    nvim.until_logged("$/cancelRequest")
    assert nvim.text() == "It adds\n\nall."


def test_closing_the_explanation_stops_the_model(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes={"range": BODY, "texts": ["It"], "answer": {"text": "-"}}, hold=True)
    nvim.command("2CoderLsp explain")
    nvim.until_text("It")
    nvim.type("q")
    nvim.until_logged("$/cancelRequest")
    assert nvim.text() == TEXT.rstrip("\n")


def test_tests_that_became_a_file_leave_no_window_behind(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes={"range": BODY, "answer": {"text": "def test(): ...", "applied": True}})
    nvim.command("CoderLsp tests")
    argument = asked(nvim)
    assert argument["apply"] is True
    assert argument["range"] == {"start": {"line": 0, "character": 0}, "end": {"line": 4, "character": 17}}
    nvim.until("#vim.api.nvim_list_wins() == 1")
    nvim.script(writes={"range": BODY, "answer": {"text": "def test(): ...", "reason": "there is a file of tests"}})
    nvim.command("CoderLsp tests")
    nvim.until("#messages > 0")
    assert nvim.text() == "def test(): ..."
    assert nvim.lua("return vim.bo.filetype") == "python"


def test_a_server_that_refuses_or_dies_takes_the_change_with_it(scripted):
    nvim = scripted(TEXT)
    nvim.script(replies={"coder-lsp.rewrite": {"error": "no model is here"}})
    nvim.command("2CoderLsp rewrite shorter")
    nvim.until("#messages > 0")
    assert nvim.messages() == ["coder-lsp: no model is here"]
    assert nvim.lua("return require('coder_lsp.edit').visible()") is False
    nvim.script(writes=REWRITES, hold=True)
    nvim.command("2CoderLsp rewrite shorter")
    nvim.until_logged("workspace/executeCommand", 2)
    nvim.lua("vim.lsp.get_clients({ name = 'coder_lsp' })[1]:stop(true)")
    nvim.until("not require('coder_lsp.edit').visible()", why="the change goes with its server")


def test_unloading_the_buffer_stops_the_model(scripted):
    nvim = scripted(TEXT)
    nvim.script(writes=REWRITES, hold=True)
    nvim.command("2CoderLsp rewrite shorter")
    nvim.until_logged("workspace/executeCommand")
    nvim.command("enew | bwipeout #")
    nvim.until_logged("$/cancelRequest")
    assert nvim.lua("return require('coder_lsp.edit').visible()") is False


@pytest.mark.usefixtures("real_home")
def test_the_real_model_writes_what_a_comment_says(start, tmp_path):
    (tmp_path / ".git").mkdir()
    path = tmp_path / "a.py"
    path.write_text("# Return the sum of two numbers.\n")
    nvim = start(tmp_path)
    nvim.edit(path)
    nvim.ready()
    nvim.command("CoderLsp generate")
    until_written(nvim)
    new = added(nvim)
    assert any("def " in line for line in new), new
    nvim.command("CoderLsp accept-edit")
    nvim.until("vim.api.nvim_buf_line_count(0) > 1")
    assert "def " in nvim.text()
    nvim.type("u")
    nvim.until_text("# Return the sum of two numbers.")
