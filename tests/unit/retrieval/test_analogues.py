"""Functions like the one being written, shown as far as they answer it."""

from __future__ import annotations

from pathlib import Path

import pytest

from coder_lsp.retrieval.analogues import MOST, SAME_NAMES
from coder_lsp.retrieval.context import assemble
from coder_lsp.retrieval.index import Index
from coder_lsp.retrieval.record import make_record

ROOT = Path("/w")

IMAGE = """import torch


def exists(x):
    return x is not None


class Resize:
    def __init__(self, size, mode="nearest", clamp=None):
        self.size = size
        self.mode_of_image = mode

    def forward(self, frames, scale):
        old_size = frames.shape[-1]
        if old_size == self.size:
            return frames
        factor = self.size / old_size
        out = interpolate(frames, factor)
        if exists(self.clamp):
            out = out.clamp(*self.clamp)
        return out


class Flip:
    def forward(self, frames, axis):
        return frames.flip(axis)
"""
VERBS = """def drop(frame, columns):
    check_type(columns, list)
    return frame.drop(columns)


def unrelated(path):
    return open(path)
"""
BEGUN = "class Resize:\n    def forward(self, frames, scale):\n        |\n"


@pytest.fixture
def index():
    found = Index(on_damage=lambda _root, _store: None)
    found.attach(ROOT, None)
    return found


def put(index, files):
    index.put(ROOT, [make_record(path, text) for path, text in files.items()], stored=False)


def analogous(index, marked, path="video.py"):
    """Names of the functions that were chosen as analogous, and the text of their snippets."""
    before, after = marked.split("|")
    snippets = assemble(index, ROOT, path, before + after, len(before), budget=512)
    found = [snippet for snippet in snippets if snippet.source.startswith("analogous: ")]
    return [snippet.source.partition(": ")[2] for snippet in found], "".join(snippet.text for snippet in found)


def test_the_same_method_of_a_class_of_the_same_name_is_shown_from_its_head_on(index):
    put(index, {"image.py": IMAGE})
    names, text = analogous(index, BEGUN)
    assert names == ["forward"]
    assert "class Resize:\n    def forward(self, frames, scale):\n        old_size = frames.shape[-1]\n" in text


def test_it_stands_nearest_to_the_code(index):
    put(
        index, {"image.py": IMAGE, **{f"other{n}.py": f"def frames_of_{n}(scale):\n    return {n}\n" for n in range(9)}}
    )
    # Files that others import stand before them, but for this.
    put(
        index,
        {"user.py": "from image import Resize\n\n\ndef frames_of(scale):\n    return Resize(scale).forward(scale)\n"},
    )
    before, after = BEGUN.split("|")
    snippets = assemble(index, ROOT, "video.py", before + after, len(before), budget=512)
    assert "user.py" in {snippet.path for snippet in snippets}
    assert snippets[-1].source == "analogous: forward"


def test_of_several_the_likest_stands_last(index):
    head = "def convert(source, target, quality):\n    "
    put(index, {"near.py": head + "return near(source)\n"})
    put(index, {"far.py": head.replace(", quality", "") + "return far(source)\n"})
    names, text = analogous(index, "def convert(source, target, quality, colour, size):\n    |\n")
    assert names == ["convert", "convert"]
    assert text.index("far(source)") < text.index("near(source)")


def test_of_a_copy_the_same_lines_above_are_shown_too_as_they_are_written(index):
    put(index, {"image.py": IMAGE})
    marked = """class Resize:
    def __init__(self, size, mode="nearest", clamp=None):
        self.size = size
        self.mode_of_image = mode

    def forward(self, frames, scale):
        |
"""
    _, text = analogous(index, marked)
    above = "        self.size = size\n        self.mode_of_image = mode\n\n    def forward(self, frames, scale):\n"
    assert above + "        old_size = frames.shape[-1]\n" in text


def test_of_functions_with_the_same_head_the_one_in_the_same_surroundings_is_shown(index):
    head = "def default(val, d):\n    return "
    above = "    return inner\n\n\nonce = cached(print)\n\n\n"
    put(
        index,
        {
            "a.py": head + "one(val)\n",
            "b.py": "def cached(inner):\n" + above + head + "two(val)\n",
            "c.py": head + "three(val)\n",
        },
    )
    names, text = analogous(index, "def cached(x):\n" + above + "def default(val, d):\n    |\n")
    assert names == ["default"]
    assert text == above + head + "two(val)\n"


def test_a_head_over_several_lines_is_shown_whole(index):
    head = "def convert(\n    source,\n    target,\n):\n"
    put(index, {"a.py": f"@cached\n{head}    return near(source)\n", "b.py": IMAGE})
    _, text = analogous(index, "def convert(\n    source,\n    target,\n    quality,\n):\n    |\n")
    assert text == f"@cached\n{head}    return near(source)\n"


def test_beside_a_twin_others_are_left_out(index):
    put(
        index,
        {"image.py": IMAGE, "other.py": "class Crop:\n    def forward(self, frames, scale):\n        return scale\n"},
    )
    names, text = analogous(index, BEGUN)
    assert names == ["forward"]
    assert "class Resize" in text


def test_what_is_shown_moves_on_with_what_is_written(index):
    put(index, {"image.py": IMAGE})
    begun = BEGUN.replace("|", "old_size = frames.shape[-1]\n        factor = self.size / old_size\n        |")
    _, text = analogous(index, begun)
    assert "out = interpolate(frames, factor)" in text
    assert "return out" in text


def test_a_function_that_went_another_way_is_left_out(index):
    put(index, {"image.py": IMAGE})
    lines = "".join(f"other_{n} = {n}\n        " for n in range(6))
    assert analogous(index, BEGUN.replace("|", lines + "|")) == ([], "")


def test_a_function_of_another_name_with_the_same_parameters_and_words_counts(index):
    put(index, {"verbs.py": VERBS, "image.py": IMAGE, "a.py": "def a():\n    pass\n"})
    names, text = analogous(index, "def drop_all(frame, columns):\n    |\n")
    assert names == ["drop"]
    assert "check_type(columns, list)" in text


def test_functions_that_only_share_a_file_do_not(index):
    put(index, {"verbs.py": VERBS, "image.py": IMAGE, "a.py": "def a():\n    pass\n"})
    names, _ = analogous(index, "def rename(table, names):\n    drop(table, names)\n    |\n")
    assert names == []


def test_the_class_leads_to_the_right_one_of_many_of_a_name(index):
    many = {
        f"a{n}.py": f"class C{n}:\n    def __init__(self, p{n}):\n        self.p{n} = {n}\n"
        for n in range(SAME_NAMES + 8)
    }
    put(index, {**many, "image.py": IMAGE})
    _, text = analogous(index, "class Resize:\n    def __init__(self, size, mode, clamp):\n        |\n")
    assert "self.mode_of_image = mode" in text


def test_copies_of_a_copy_are_shown_once(index):
    put(index, {f"image{n}.py": IMAGE for n in range(MOST + 2)})
    _, text = analogous(index, BEGUN)
    assert text.count("old_size = frames.shape[-1]") == 1


def test_one_whose_body_is_at_its_end_has_nothing_to_say(index):
    put(index, {"flip.py": "class Flip:\n    def forward(self, frames, axis):\n        x = 1\n        y = 2\n"})
    marked = "class Flip:\n    def forward(self, frames, axis):\n        x = 1\n        y = 2\n        |\n"
    assert analogous(index, marked) == ([], "")


def test_nothing_is_analogous_outside_of_functions_or_in_the_document_itself(index):
    put(index, {"video.py": IMAGE})
    assert analogous(index, BEGUN) == ([], "")
    put(index, {"image.py": IMAGE})
    assert analogous(index, "resize = |\n") == ([], "")
