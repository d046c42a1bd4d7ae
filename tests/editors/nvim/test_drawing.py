"""What ghost text looks like, where it goes when accepted, and what the server is told. The server is scripted."""

from __future__ import annotations

import pytest

GREEN = "grün 🎉 "


def test_the_rest_of_a_line_stands_behind_the_cursor(scripted):
    nvim = scripted("x = \n")
    nvim.script(items=[{"text": "compute(1)"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("compute(1)")
    assert nvim.screen()[0] == "x = compute(1)"
    assert nvim.text() == "x = ", "ghost text is not in the buffer"
    # The cursor stands before the ghost text, not behind it.
    assert nvim.lua("vim.cmd.redraw() return vim.fn.screencol()") == 5


def test_several_lines_are_drawn_below_and_accepted(scripted):
    nvim = scripted("def f():\n    \nend\n")
    nvim.script(items=[{"text": "if a:\n        return b\n    return c"}])
    nvim.insert_at(1, 4)
    nvim.until_ghost()
    assert nvim.screen()[:5] == ["def f():", "    if a:", "        return b", "    return c", "end"]
    assert nvim.lua("return require('coder_lsp').accept()") is True
    nvim.until_text("def f():\n    if a:\n        return b\n    return c\nend")
    assert nvim.cursor() == (3, 12)
    assert nvim.mode() == "i"


def test_what_it_replaces_stays_in_place_between_the_pieces(scripted):
    nvim = scripted("call()\n")
    nvim.script(items=[{"text": "a, b):", "after": 1}])
    nvim.insert_at(0, 5)
    nvim.until_ghost()
    assert [(mark["col"], mark["text"]) for mark in nvim.marks()] == [(5, "a, b"), (6, ":")]
    assert nvim.screen()[0] == "call(a, b):"
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("call(a, b):")
    assert nvim.cursor() == (0, 11)


def test_text_that_would_go_is_struck_out(scripted):
    nvim = scripted("x = old\n")
    nvim.script(items=[{"text": "new", "after": 3}])
    nvim.insert_at(0, 4)
    nvim.until_ghost()
    assert nvim.screen()[0] == "x = newold"
    assert "CoderLspReplaced" in [mark.get("group") for mark in nvim.marks()]
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("x = new")


def test_a_block_pushes_the_rest_of_the_line_behind_its_last_line(scripted):
    nvim = scripted("call()  # why\nnext\n")
    nvim.script(items=[{"text": "\n    a,\n"}])
    nvim.insert_at(0, 5)
    nvim.until_ghost()
    assert nvim.screen()[:4] == ["call(", "    a,", ")  # why", "next"]
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("call(\n    a,\n)  # why\nnext")
    assert nvim.cursor() == (2, 0)


def test_tabs_are_as_wide_as_the_buffer_has_them(scripted):
    nvim = scripted("func f() {\n\t\n}\n", name="a.go")
    nvim.command("setlocal tabstop=4 noexpandtab")
    nvim.script(items=[{"text": "if x {\n\t\treturn\t// done\n\t}"}])
    nvim.insert_at(1, 1)
    nvim.until_ghost()
    assert nvim.screen()[1:4] == ["    if x {", "        return  // done", "    }"]
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("func f() {\n\tif x {\n\t\treturn\t// done\n\t}\n}")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_wide_characters_before_the_cursor(scripted, encoding):
    """The position goes out and the range comes in in the encoding's units; both are off by some in any other."""
    nvim = scripted(f"{GREEN}call()\n", encoding=encoding)
    nvim.script(items=[{"text": "🎉ü)", "after": 1}])
    nvim.insert_at(0, len(f"{GREEN}call(".encode()))
    nvim.until_ghost()
    asked = nvim.log("textDocument/inlineCompletion")[-1]["params"]["position"]["character"]
    units = {"utf-8": 16, "utf-16": 13, "utf-32": 12}
    assert asked == units[encoding]
    assert nvim.screen()[0] == f"{GREEN}call(🎉ü)"
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text(f"{GREEN}call(🎉ü)")
    assert nvim.cursor() == (0, len(f"{GREEN}call(🎉ü)".encode()))


def test_a_part_is_reported_in_utf_16_from_its_beginning(scripted):
    nvim = scripted("x = \n", encoding="utf-8")
    nvim.script(items=[{"text": "🎉ü + two\r\nthree"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost()
    # The same item again and again, as the server would not let it change under the user.
    nvim.script(hold=True)
    for ghost in (" + two\nthree", " two\nthree"):
        nvim.lua("require('coder_lsp').accept_word()")
        nvim.until_ghost(ghost)
    nvim.lua("require('coder_lsp').accept_line()")
    nvim.until_ghost("\nthree")
    nvim.lua("require('coder_lsp').accept_word()")
    nvim.until_no_ghost()
    assert nvim.text() == "x = 🎉ü + two\nthree"
    accepted = [entry["params"]["arguments"] for entry in nvim.until_logged("workspace/executeCommand", 4)]
    assert accepted == [["1.0", 3], ["1.0", 5], ["1.0", 9], ["1.0"]]


def test_line_ends_of_a_dos_file_stay(scripted, tmp_path):
    nvim = scripted("def f():\r\n    \r\n")
    assert nvim.lua("return vim.bo.fileformat") == "dos"
    nvim.script(items=[{"text": "a = 1\r\n    return a"}])
    nvim.insert_at(1, 4)
    nvim.until_ghost("a = 1\n    return a")
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("def f():\n    a = 1\n    return a")
    nvim.type("<Esc>")
    nvim.command("write")
    assert (tmp_path / "a.py").read_bytes() == b"def f():\r\n    a = 1\r\n    return a\r\n"


def test_control_characters_are_shown_as_neovim_writes_them(scripted):
    nvim = scripted("x = \n")
    nvim.script(items=[{"text": '"\x1b[0m"'}])
    nvim.insert_at(0, 4)
    nvim.until_ghost('"^[[0m"')


def test_a_range_before_the_cursor_is_rewritten_whole(scripted):
    nvim = scripted("        retrun x\n")
    nvim.script(items=[{"text": "    return x", "before": 16}])
    nvim.insert_at(0, 16)
    nvim.until_ghost()
    nvim.lua("require('coder_lsp').accept_word()")
    nvim.until_text("    return x")
    assert nvim.cursor() == (0, 12)


def test_an_item_whose_text_begins_with_what_stands_there(scripted):
    nvim = scripted("    ret\n")
    nvim.script(items=[{"text": "return x", "before": 3}])
    nvim.insert_at(0, 7)
    nvim.until_ghost("urn x")
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("    return x")


def test_an_item_for_another_line_is_passed_over(scripted):
    """The protocol wants the range around the cursor; a server that errs must not have text deleted."""
    nvim = scripted("one\ntwo\n")
    nvim.script(items=[{"text": "evil", "before": -1}])
    nvim.insert_at(0, 2)
    nvim.until_logged("answer")
    nvim.log()
    assert nvim.ghost() == ""


def test_alternatives_are_counted_and_go_round(scripted):
    nvim = scripted("x = \n")
    nvim.script(items=[{"text": "one"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("one")
    nvim.script(items=[{"text": "one"}, {"text": "two"}, {"text": "three"}])
    assert nvim.lua("return require('coder_lsp').next()") is True
    nvim.until_ghost("two (2/3)")
    assert nvim.log("textDocument/inlineCompletion")[-1]["params"]["context"]["triggerKind"] == 1
    for call, shown in (("next", "three (3/3)"), ("next", "one (1/3)"), ("previous", "three (3/3)")):
        nvim.lua(f"require('coder_lsp').{call}()")
        nvim.until_ghost(shown)
    asked = len(nvim.log("textDocument/inlineCompletion"))
    nvim.lua("require('coder_lsp').previous()")
    nvim.until_ghost("two (2/3)")
    assert len(nvim.log("textDocument/inlineCompletion")) == asked, "they are asked for once"
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("x = two")
    assert nvim.until_logged("workspace/executeCommand")[-1]["params"]["arguments"] == ["2.1"]


def test_typing_an_alternative_goes_on_with_it(scripted):
    nvim = scripted("x = \n")
    nvim.script(items=[{"text": "one"}, {"text": "other"}])
    nvim.insert_at(0, 4)
    nvim.until_ghost("one")
    nvim.script(hold=True)
    nvim.type("ot")
    nvim.until_ghost("her")


def test_a_closing_bracket_typed_over_is_part_of_the_suggestion(scripted):
    nvim = scripted("call()\n")
    nvim.script(items=[{"text": "a):", "after": 1}])
    nvim.insert_at(0, 5)
    nvim.until_ghost("a:")
    nvim.script(hold=True)
    nvim.type("a<Right>")
    nvim.until_ghost(":")
    nvim.lua("require('coder_lsp').accept()")
    nvim.until_text("call(a):")


def test_a_word_accepted_takes_the_bracket_it_brings(scripted):
    nvim = scripted("call()\n")
    nvim.script(items=[{"text": "a): pass", "after": 1}])
    nvim.insert_at(0, 5)
    nvim.until_ghost("a: pass")
    nvim.script(hold=True)
    for text, ghost in (("call(a)", ": pass"), ("call(a):", " pass"), ("call(a): pass", "")):
        nvim.lua("require('coder_lsp').accept_word()")
        nvim.until_ghost(ghost)
        nvim.until_text(text)
