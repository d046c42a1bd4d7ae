"""What is kept of finished generations, and how much."""

from __future__ import annotations

import asyncio

import pytest

from coder_lsp.completion.cache import StreamCache
from coder_lsp.completion.gap import Gap
from coder_lsp.completion.stream import Stream
from coder_lsp.types import CompletionRequest, FimRequest, FimResult, FinishReason, PromptKind, Shape


async def finished(before: str, text: str, *, document: str = "file:///a.py", wanted: int = 1, kind=PromptKind.FULL):
    class Backend:
        async def complete(self, request, on_text=None):
            return FimResult(text, FinishReason.STOP_TOKEN, prompt_kind=kind)

        async def warm(self, request): ...

    gap = Gap.of(CompletionRequest(document, before, len(before), "python"))
    ended = asyncio.Event()
    stream = Stream(gap, Shape.LINE, FimRequest(document, gap.prefix, gap.suffix, alternatives=wanted))
    stream.start(Backend(), lambda _: ended.set())
    await ended.wait()
    return gap, stream


async def test_the_latest_that_leads_to_a_place_comes_first():
    cache = StreamCache()
    _, first = await finished("a", "bcd")
    gap, second = await finished("ab", "cd")
    cache.add(first)
    cache.add(second)
    assert cache.matching(gap) == [(second, ""), (first, "b")]
    cache.use(first)
    assert cache.matching(gap)[0] == (first, "b")


async def test_the_least_recently_used_goes_first():
    cache = StreamCache(most_streams=2)
    streams = [await finished(name, "text") for name in "abc"]
    for _, stream in streams[:2]:
        cache.add(stream)
    cache.use(streams[0][1])
    cache.add(streams[2][1])
    assert [bool(cache.matching(gap)) for gap, _ in streams] == [True, False, True]


async def test_characters_are_bounded_whatever_the_number():
    cache = StreamCache(most_characters=20_000)
    for number in range(50):
        cache.add((await finished(f"x{number}", "y" * 1000))[1])
        assert cache.characters <= 20_000
    assert 0 < len(cache) < 10
    cache.forget()
    assert (len(cache), cache.characters) == (0, 0)


async def test_one_that_is_too_large_by_itself_is_not_kept():
    cache = StreamCache(most_characters=100)
    cache.add((await finished("x", "y" * 1000))[1])
    assert (len(cache), cache.characters) == (0, 0)


@pytest.mark.parametrize(
    ("older", "newer", "kept"),
    [
        ({}, {}, "new"),
        ({"wanted": 3}, {}, "old"),
        ({}, {"wanted": 3}, "new"),
        ({"wanted": 3, "kind": PromptKind.SHORT}, {}, "new"),
    ],
)
async def test_a_place_is_kept_once_and_what_says_more_stays(older, newer, kept):
    cache = StreamCache()
    gap, old = await finished("x = ", "old", **older)
    cache.add(old)
    cache.add((await finished("x = ", "new", **newer))[1])
    assert [stream.text for stream, _ in cache.matching(gap)] == [kept]


async def test_a_closed_document_leaves_nothing_behind():
    cache = StreamCache()
    gap, stream = await finished("x = ", "1")
    other_gap, other = await finished("x = ", "1", document="file:///b.py")
    cache.add(stream)
    cache.add(other)
    cache.forget("file:///a.py")
    assert (cache.matching(gap), cache.matching(other_gap)) == ([], [(other, "")])


async def test_no_text_of_the_document_is_kept():
    _, stream = await finished("secret " * 1000, "1")
    kept = repr(vars(stream))
    assert kept.count("secret") <= 64 // len("secret ") + 1
