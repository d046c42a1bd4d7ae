"""What a model may write, at any place of any document: the edit that an editor gets, applied as an editor does.

An edit lies around the cursor on its line, takes nothing away that the user typed or sees without putting it back, is
text that can be seen, has the file's line ends, and is the same when it is asked for again.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fuzz.engine import Check, target
from fuzz.lsp import drive, session
from hypothesis import strategies as st
from support.lsp_client import span
from support.naive_document import NaiveDocument
from support.scripted_backend import ScriptedBackend
from support.scripted_server import ScriptedHost, ScriptedModels, ScriptedStatistics, load_settings

from coder_lsp.completion.service import CompletionService
from coder_lsp.config import CompletionConfig, Config
from coder_lsp.documents.positions import Encoding
from coder_lsp.server.server import CoderLanguageServer
from coder_lsp.types import FinishReason

URI = "file:///a.py"
pieces = st.sampled_from(
    [
        *"()[]{}\"'`:;,.=#/\\@ \t\n\nxé€世😀𝒳",
        "\r\n",
        "\r",
        "\u0301",
        "\u200d",
        "\u2028",
        "\x85",
        "\x0c",
        "\x00",
        "\x1b[2J",
        "\u202e",
        "\ufeff",
        "    ",
        "def f(x):\n",
        "return x",
        "if a:\n    ",
        "f(a, b)",
        "})",
        '"""',
        "/*",
        "*/",
        "//",
        "<div>",
        "</div>",
        "end",
        "\n\n\n",
        "<|fim_middle|>",
        "```",
    ]
)
texts = st.lists(pieces, max_size=12).map("".join)
LANGUAGES = ["python", "javascript", "c", "go", "rust", "html", "ruby", "lua", "sql", "plaintext", "yaml", "no-such"]
endings = st.sampled_from([FinishReason.STOP_TOKEN, FinishReason.LENGTH, FinishReason.DEADLINE])
selections = st.none() | st.tuples(st.integers(0, 4), st.sampled_from(["x", "xyz", "f(", "é", "", "a b"]))
cases = st.tuples(
    st.sampled_from([encoding.value for encoding in Encoding]),
    st.sampled_from(LANGUAGES),
    texts,
    texts,
    texts,
    st.booleans(),
    endings.map(lambda reason: reason.value),
    st.sampled_from([1, 2]),
    selections,
)


def served(model: str, reason: str) -> CoderLanguageServer:
    """Everything real but the model and what is beside it."""
    backend = ScriptedBackend(model, finish=FinishReason(reason))
    host, models = ScriptedHost(), ScriptedModels()
    host.event = models.event = lambda *_, **__: None
    service = CompletionService(backend, Config(completion=CompletionConfig(early_ms=0)))
    return CoderLanguageServer(
        completions=service, host=host, load_settings=load_settings, models=models, statistics=ScriptedStatistics()
    )


def shown(text: str) -> list[str]:
    return [character for character in text if not character.isspace()]


def is_within(some: list[str], text: list[str]) -> bool:
    """Whether all of it is there, in order."""
    rest = iter(text)
    return all(character in rest for character in some)


def applied(item: dict[str, Any], text: str, cursor: int, naive: NaiveDocument, selected: Any) -> tuple[str, int]:
    """The document and the cursor after the edit, which is checked on the way."""
    new, where = item["insertText"], item["range"]
    start, end = (naive.offset(where[each]["line"], where[each]["character"]) for each in ("start", "end"))
    assert where["start"]["line"] == where["end"]["line"], where
    assert start <= cursor <= end
    if selected is None:
        assert new.startswith(text[start:cursor])
        assert is_within(shown(text[cursor:end]), shown(new[cursor - start :])), (new, text[cursor:end])
    else:
        assert new.startswith(selected)
    assert new == new.encode("utf-8", "replace").decode()
    assert shown(new)
    assert not set(new) & set("\x00\x1b\x7f"), new
    ends = [each for each in ("\r\n", "\n", "\r") if each in text.replace("\r\n", "" if each != "\r\n" else "\r\n")]
    if len(ends) == 1:
        bare = new.replace(ends[0], "")
        assert "\n" not in bare, (new, ends)
        assert "\r" not in bare, (new, ends)
    return text[:start] + new + text[end:], start + len(new)


@target("suggestions", cases, share=60)
def suggestions(_: Path) -> Iterator[Check]:
    async def talk(case: tuple[Any, ...]) -> None:
        spelled, language, before, after, model, _, reason, kind, selection = case
        async with session(lambda: served(model, reason)) as it:
            capabilities = {"general": {"positionEncodings": [spelled]}, "textDocument": {"inlineCompletion": {}}}
            await it.client.initialize(capabilities)
            text = before + after
            it.client.open(URI, text, language)

            async def asked(text: str, cursor: int, selected: Any = None) -> list[dict[str, Any]]:
                line, character = place(text, cursor, Encoding(spelled))
                context: dict[str, Any] = {"triggerKind": kind}
                if selected is not None:
                    back, entry = selected
                    context["selectedCompletionInfo"] = {
                        "range": span(line, max(character - back, 0), line, character),
                        "text": entry,
                    }
                params = {"textDocument": {"uri": URI}, "position": {"line": line, "character": character}}
                answer = await it.client.request("textDocument/inlineCompletion", {**params, "context": context})
                return [{**item, "command": None} for item in (answer or {"items": []})["items"]]

            cursor = len(before)
            if before.endswith("\r") and after.startswith("\n"):
                cursor -= 1
            items = await asked(text, cursor, selection)
            naive = NaiveDocument(text, Encoding(spelled))
            for item in items:
                applied(item, text, cursor, naive, selection[1] if selection else None)
            assert await asked(text, cursor, selection) == items
            if items and selection is None:
                text, cursor = applied(items[0], text, cursor, naive, None)
                it.client.change(URI, 2, (None, text))
                naive = NaiveDocument(text, Encoding(spelled))
                if text[cursor - 1 : cursor + 1] == "\r\n":
                    cursor -= 1
                for item in await asked(text, cursor):
                    applied(item, text, cursor, naive, None)
            assert await it.client.end() == 0

    def check(case: tuple[Any, ...]) -> None:
        watch = drive(lambda: talk(case))
        assert not watch.harm, watch.harm

    yield check


def place(text: str, cursor: int, encoding: Encoding) -> tuple[int, int]:
    """Line and character of an offset, by trying all."""
    naive = NaiveDocument(text, encoding)
    before = text[:cursor].replace("\r\n", "\n").replace("\r", "\n")
    line = before.count("\n")
    return line, sum(map(naive.width, before.rpartition("\n")[2]))
