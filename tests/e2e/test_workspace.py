"""A real editor session on a real folder: what other files say changes what the real model suggests."""

from __future__ import annotations

import asyncio
import time

import pytest
from lsprotocol import types as lsp
from support.session import session

SHAPES = '''class Rectangle:
    def __init__(self, width, height):
        self.width = width
        self.height = height

    def {larger}(self, factor):
        """Return a larger rectangle."""
        return Rectangle(self.width * factor, self.height * factor)

    def {smaller}(self, factor):
        """Return a smaller rectangle."""
        return Rectangle(self.width / factor, self.height / factor)
'''
BEFORE = SHAPES.format(larger="inflate_sides", smaller="deflate_sides")
AFTER = SHAPES.format(larger="stretch_edges", smaller="squeeze_edges")
USE = """from shapes import Rectangle


def enlarge(r: Rectangle) -> Rectangle:
    # Make the rectangle twice as large, with the method of its class.
    return r."""


async def suggested(editor) -> str:
    """The rest of the last line of ``use.py``."""
    return await editor.ghost("use.py", USE.count("\n"), len("    return r."))


async def test_a_suggestion_knows_the_other_file_and_its_unsaved_text(real_home, tmp_path):
    (tmp_path / "shapes.py").write_text(BEFORE)
    async with session(tmp_path) as editor:
        assert await editor.indexed() == 1
        editor.open("use.py", USE)
        assert (await suggested(editor)).startswith("inflate_sides(")

        editor.open("shapes.py", BEFORE)
        editor.replace("shapes.py", AFTER)
        # Who works on another document asks there too; back in this one, the block is looked at again.
        await editor.ghost("shapes.py", AFTER.count("\n"), 0)
        assert (await suggested(editor)).startswith("stretch_edges(")
        assert (tmp_path / "shapes.py").read_text() == BEFORE


@pytest.mark.parametrize("hidden", ["ignored", "secret", "excluded"])
async def test_what_is_hidden_is_never_shown(real_home, tmp_path, hidden):
    names = {"ignored": "generated.py", "secret": ".env", "excluded": "left_out.py"}
    (tmp_path / ".gitignore").write_text("generated.py\n")
    (tmp_path / names[hidden]).write_text(BEFORE)
    settings = {"context": {"exclude": ["left_out.py"]}} if hidden == "excluded" else None
    async with session(tmp_path, settings=settings) as editor:
        editor.open(names[hidden], BEFORE)
        editor.open("use.py", USE)
        await editor.indexed()
        assert "inflate" not in await suggested(editor)


async def test_indexing_is_shown_and_the_front_answers_meanwhile(real_home, tmp_path):
    for number in range(1500):
        (tmp_path / f"module{number}.py").write_text(BEFORE.replace("sides", f"sides_{number}") * 8)
    async with session(tmp_path) as editor:
        took = []
        done = asyncio.ensure_future(editor.indexed(120))
        while not done.done():
            began = time.perf_counter()
            await editor.client.workspace_execute_command_async(lsp.ExecuteCommandParams("coder-lsp.resume"))
            took.append(time.perf_counter() - began)
        assert done.result() == 1500
        titles = [value["title"] for value in editor.progress if value["kind"] == "begin"]
        assert titles.count(f"Indexing {tmp_path.name}") == 1
        assert any((value.get("message") or "").startswith("1,500 files in ") for value in editor.progress)
        # A bound for a busy machine; `coder-lsp bench retrieval` has the figure.
        assert sorted(took)[len(took) * 95 // 100] < 0.1


async def test_the_user_can_see_what_the_model_sees_and_how_quick_it_is(real_home, tmp_path):
    (tmp_path / "shapes.py").write_text(BEFORE)
    async with session(tmp_path) as editor:
        await editor.indexed()
        editor.open("use.py", USE)
        assert (await suggested(editor)).startswith("inflate_sides(")
        place = {"uri": editor.uri("use.py"), "position": {"line": USE.count("\n"), "character": len("    return r.")}}
        shown = await command(editor, "context", place)
        assert "def inflate_sides" in shown["text"]
        assert shown["text"] in shown["prompt"]
        assert shown["prompt"].rstrip().endswith("return r.")
        assert 0 < shown["tokens"] <= shown["budget"]
        assert shown["tokens"] < shown["promptTokens"]
        assert {snippet["path"] for snippet in shown["snippets"]} == {"shapes.py"}

        models = (await command(editor, "models"))["models"]
        assert [model["name"] for model in models if model["current"]] == ["qwen2.5-coder-0.5b-instruct"]
        assert models[0]["installed"]
        assert any(not model["installed"] for model in models)


async def command(editor, name, *arguments):
    params = lsp.ExecuteCommandParams(f"coder-lsp.{name}", list(arguments))
    return await editor.client.workspace_execute_command_async(params)
