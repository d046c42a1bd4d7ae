"""``python -m fuzz.syntax_driver``: everything that the front and the readers do with the syntax of a text."""

from __future__ import annotations

from typing import Any

from fuzz.driver import serve

from coder_lsp.completion.shape import decide_shape
from coder_lsp.languages import by_id
from coder_lsp.retrieval.record import make_record
from coder_lsp.syntax import tree as syntax
from coder_lsp.syntax.outline import outline


def answer(question: Any) -> Any:
    language, texts, places = question
    previous = None
    ending = next(iter(by_id(language).extensions), "")
    for text in texts:
        # As text out of a file is, which neither SQLite nor a parser would take otherwise.
        plain = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
        record = make_record(f"a{ending}", plain)
        assert record.lines == plain.count("\n") + 1
        found = outline(language, text)
        lines = text.count("\n") + 1
        assert all(0 <= one.start_line < one.end_line <= lines for one in found.definitions)
        assert all(0 <= one.line < lines for one in found.imports)
        tree = syntax.parse(language, text, previous=previous)
        for number in places:
            place = number % (len(text) + 1)
            decide_shape(text, place, language)
            around = syntax.parse(language, text, around=place, previous=previous)
            for each in (tree, around):
                if each is None or not each.start <= place <= each.start + len(each.text):
                    continue
                assert syntax.inside(each, place) in {"", "string", "comment"}
                syntax.body_is_empty(each, place)
                for scope in syntax.scopes(each, place):
                    assert 0 <= scope.start <= scope.end <= len(text)
        previous = tree
    return {"done": len(texts)}


if __name__ == "__main__":
    serve(answer)
