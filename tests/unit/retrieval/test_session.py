"""A window's workspace on a real folder: what is indexed when, open documents on top, context out of both."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from coder_lsp.config import Config, ContextConfig
from coder_lsp.retrieval import session as session_module
from coder_lsp.retrieval.database import database_path
from coder_lsp.retrieval.session import WorkspaceSession
from coder_lsp.types import CompletionRequest, IndexState, IndexStatus

PATIENCE_S = 30.0
SHAPES = "class Rectangle:\n    def {name}(self, factor):\n        return self.width * factor\n"
USE = "from shapes import Rectangle\n\n\ndef grow(r: Rectangle):\n    return r."


def settings(**context):
    return Config(context=ContextConfig(**context))


class Window:
    """A session with what it said."""

    def __init__(self):
        self.statuses, self.notices = [], []
        self.news = asyncio.Condition()
        self.it = WorkspaceSession(on_status=self.statuses.append, on_notice=self.notices.append, workers=1)

    async def begin(self, *roots, **context):
        self.it.configure(settings(**context))
        self.it.set_roots(roots)
        await self.settle()

    async def settle(self):
        assert await self.it.wait_settled(PATIENCE_S)

    def ask(self, root, path="use.py", text=USE, cursor=None, budget=256):
        where = {"uri": (root / path).as_uri(), "root": str(root), "path": path}
        return self.it.context(
            CompletionRequest(text=text, cursor=len(text) if cursor is None else cursor, **where), budget
        )

    def shown(self, root, **options):
        return "".join(snippet.text for snippet in self.ask(root, **options))

    async def until(self, condition):
        """For what no future tells of; ends with the test's patience."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)


@pytest.fixture
async def window():
    made = Window()
    yield made
    await asyncio.wait_for(made.it.stop(), PATIENCE_S)


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "project"
    root.mkdir()
    (root / "shapes.py").write_text(SHAPES.format(name="scale_disk"))
    (root / "use.py").write_text(USE)
    return root


async def test_the_context_of_a_place_comes_from_the_other_files(window, root):
    await window.begin(root)
    [snippet] = window.ask(root)
    assert snippet.path == "shapes.py"
    assert "scale_disk" in snippet.text
    assert window.ask(root, budget=0) == ()


async def test_nothing_is_indexed_before_there_are_settings_and_folders(window, root):
    window.it.set_roots([root])
    await window.settle()
    assert window.ask(root) == ()
    assert window.statuses == []
    window.it.configure(settings())
    await window.settle()
    assert "scale_disk" in window.shown(root)


async def test_an_index_that_is_not_there_yet_answers_with_nothing_and_at_once(window, root):
    window.it.configure(settings())
    window.it.set_roots([root])
    assert window.ask(root) == ()
    await window.settle()
    assert window.ask(root) != ()


async def test_unsaved_text_overrides_the_disk_until_it_is_closed(window, root):
    await window.begin(root)
    shapes = root / "shapes.py"
    window.it.opened(shapes, shapes.read_text())
    window.it.changed(shapes, SHAPES.format(name="scale_typed"), 1, 2, 2)
    await window.settle()
    assert "scale_typed" in window.shown(root)
    assert "scale_disk" not in window.shown(root)
    window.it.closed(shapes)
    await window.settle()
    assert "scale_disk" in window.shown(root)
    assert "scale_typed" not in window.shown(root)


async def test_what_is_being_typed_waits_until_it_is_left_alone(window, root, monkeypatch):
    monkeypatch.setattr(session_module, "LEFT_ALONE_S", 3600.0)
    await window.begin(root)
    shapes = root / "shapes.py"
    window.it.changed(shapes, SHAPES.format(name="scale_typed"), 1, 2, 2)
    assert list(window.it._waiting) == [shapes]
    # The document itself may ask as often as it likes.
    window.ask(root, path="shapes.py", text=SHAPES.format(name="scale_typed"))
    assert list(window.it._waiting) == [shapes]
    # A change in another one hands it on, a moment later.
    window.it.changed(root / "use.py", USE + "x", 4, 5, 5)
    await window.until(lambda: list(window.it._waiting) == [root / "use.py"])
    await window.until(lambda: "scale_typed" in window.shown(root))


async def test_a_document_that_another_one_asks_about_is_handed_on(window, root, monkeypatch):
    monkeypatch.setattr(session_module, "LEFT_ALONE_S", 3600.0)
    await window.begin(root)
    window.it.changed(root / "shapes.py", SHAPES.format(name="scale_typed"), 1, 2, 2)
    await window.until(lambda: "scale_typed" in window.shown(root))


async def test_a_document_left_alone_is_handed_on_by_itself(window, root, monkeypatch):
    monkeypatch.setattr(session_module, "LEFT_ALONE_S", 0.01)
    await window.begin(root)
    window.it.changed(root / "shapes.py", SHAPES.format(name="scale_typed"), 1, 2, 2)
    await window.until(lambda: not window.it._waiting)
    assert await window.it.wait_settled(PATIENCE_S)
    assert "scale_typed" in window.shown(root)


async def test_a_saved_document_is_read_at_once_and_does_not_hide_the_disk_any_more(window, root):
    await window.begin(root, watch="off")
    shapes = root / "shapes.py"
    window.it.changed(shapes, SHAPES.format(name="scale_typed"), 1, 2, 2)
    shapes.write_text(SHAPES.format(name="scale_formatted"))
    window.it.saved(shapes)
    await window.settle()
    assert "scale_formatted" in window.shown(root)
    assert (await window.it.stats()).overlays == 0


async def test_text_that_came_before_the_index_is_in_it(window, root):
    window.it.configure(settings())
    window.it.set_roots([root])
    window.it.opened(root / "shapes.py", SHAPES.format(name="scale_early"))
    window.it.opened(root / "use.py", USE)
    await window.settle()
    assert "scale_early" in window.shown(root)


async def test_other_settings_make_a_new_index_with_the_same_documents(window, root):
    (root / "other.py").write_text("def grow_otherwise(r):\n    return r\n")
    await window.begin(root)
    assert "grow_otherwise" in window.shown(root)
    window.it.changed(root / "shapes.py", SHAPES.format(name="scale_typed"), 1, 2, 2)
    window.it.configure(settings(exclude=("other.py",)))
    await window.settle()
    assert "grow_otherwise" not in window.shown(root)
    assert "scale_typed" in window.shown(root)


async def test_switched_off_nothing_is_shown_and_what_is_stored_stays(window, root):
    await window.begin(root)
    database = database_path(root)
    window.it.configure(settings(enabled=False))
    assert window.ask(root) == ()
    await window.settle()
    assert window.it.status == IndexStatus(IndexState.OFF)
    assert await window.it.stats() is None
    assert database.exists()


@pytest.mark.parametrize("name", [".env", "ignored.py", "credentials.json", "id_rsa.py"])
async def test_a_secret_or_ignored_document_is_never_shown_although_it_is_open(window, root, name):
    (root / ".gitignore").write_text("ignored.py\n")
    await window.begin(root)
    window.it.opened(root / name, "def grow(r: Rectangle):\n    return r.scale_hidden()\n")
    window.it.changed(root / name, "def grow(r: Rectangle):\n    return r.scale_hidden(2)\n", 1, 2, 2)
    await window.settle()
    assert "scale_hidden" not in window.shown(root)
    assert (await window.it.stats()).overlays == 0


async def test_a_secret_in_a_document_is_not_shown(window, root):
    await window.begin(root)
    key = "AKIA" + "IOSFODNN7EXAMPLE"
    text = SHAPES.format(name="scale_typed") + f"    access_key = '{key}'\n    def scale_more(self): return 2\n"
    window.it.changed(root / "shapes.py", text, 3, 3, 5)
    await window.settle()
    shown = window.shown(root)
    assert "scale_more" in shown
    assert key not in shown


async def test_a_document_is_not_its_own_context(window, root):
    await window.begin(root)
    text = SHAPES.format(name="scale_disk")
    assert [snippet.path for snippet in window.ask(root, path="shapes.py", text=text)] in ([], ["use.py"])


async def test_folders_come_and_go(window, root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "more.py").write_text("class Ellipse:\n    def scale_other(self):\n        pass\n")
    text = "from shapes import Rectangle\n\n\ndef grow(r: Rectangle, e: Ellipse):\n    return r."
    await window.begin(root)
    window.it.set_roots([root, other])
    await window.settle()
    assert "scale_other" in window.shown(root, text=text)
    window.it.set_roots([root])
    await window.settle()
    assert "scale_other" not in window.shown(root, text=text)
    assert "scale_disk" in window.shown(root, text=text)
    window.it.set_roots([])
    await window.settle()
    assert window.ask(root) == ()


async def test_a_folder_inside_another_has_its_files_for_itself(window, root):
    inner = root / "inner"
    inner.mkdir()
    (inner / "own.py").write_text(USE)
    await window.begin(root, inner)
    stats = await window.it.stats()
    assert {each.root.name: each.files for each in stats.roots} == {"project": 2, "inner": 1}
    # As the inner folder's file it is recognised whichever folder it is said to be in.
    assert [each.path for each in window.ask(root, path="inner/own.py")] == ["shapes.py"]


async def test_where_the_user_was_counts_in_other_files_only(window, root):
    far = "".join(f"def unrelated_{number}():\n    return {number}\n\n" for number in range(60))
    (root / "far.py").write_text(far)
    await window.begin(root)
    before = window.shown(root)
    changed = far.replace("return 30", "return thirty")
    window.it.changed(root / "far.py", changed, 91, 92, 92)
    await window.settle()
    recent = [each for each in window.ask(root) if each.source == "recent"]
    assert "unrelated_30" not in before
    assert [each.path for each in recent] == ["far.py"]
    assert "unrelated_30" in recent[0].text
    assert [each for each in window.ask(root, path="far.py", text=changed) if each.path == "far.py"] == []


async def test_snippets_hold_as_long_as_their_lines_are_there(window, root):
    await window.begin(root)
    shapes = root / "shapes.py"
    shown = window.ask(root)
    assert shown
    assert window.it.holds(shown)
    window.it.changed(shapes, "\n\nimport math\n" + shapes.read_text(), 0, 0, 3)
    await window.settle()
    assert window.it.holds(shown)
    window.it.changed(shapes, SHAPES.format(name="scale_typed"), 4, 5, 5)
    await window.settle()
    assert not window.it.holds(shown)
    window.it.set_roots([])
    assert not window.it.holds(shown)
    assert window.it.holds(())


async def test_a_fault_costs_the_context_and_is_logged_without_text(window, root, caplog):
    await window.begin(root)

    def broken(*_, **__):
        raise ValueError("def secret_source(): ...")

    window.it._indexer.index.search = broken
    with caplog.at_level(logging.DEBUG):
        assert window.ask(root) == ()
    assert "context failed: ValueError at broken" in caplog.text
    assert "secret_source" not in caplog.text


async def test_a_small_workspace_is_ready_without_having_reported_anything_else(window, root):
    await window.begin(root)
    await window.until(lambda: window.statuses[-1].state is IndexState.READY)
    assert window.statuses == [IndexStatus(IndexState.INDEXING), IndexStatus(IndexState.READY, files=2)]


async def test_a_large_one_tells_how_far_it_is_and_starts_warm_the_next_time(root):
    for number in range(300):
        (root / f"module{number}.py").write_text(f"def work_{number}():\n    return {number}\n")
    first = Window()
    await first.begin(root)
    await first.until(lambda: first.statuses[-1].state is IndexState.READY)
    await first.it.stop()
    assert first.statuses[-1] == IndexStatus(IndexState.READY, files=302, done=302, total=302)
    assert all(one.done <= two.done for one, two in zip(first.statuses, first.statuses[1:], strict=False))
    second = Window()
    await second.begin(root)
    await second.until(lambda: second.statuses[-1].state is IndexState.READY)
    await second.it.stop()
    assert second.statuses[-1].files == 302
    assert second.it.status.state is IndexState.READY


async def test_what_the_user_should_know_is_said_once(root):
    database = None
    for _ in range(2):
        made = Window()
        await made.begin(root)
        database = database_path(root)
        await made.it.stop()
    assert made.notices == []
    database.write_bytes(b"not a database" * 1000)
    made = Window()
    await made.begin(root)
    made.it.configure(settings(max_files=10_000))
    database.write_bytes(b"not a database" * 1000)
    await made.settle()
    await made.it.stop()
    assert len(made.notices) == len(set(made.notices)) >= 1
    assert "built anew" in made.notices[0]


async def test_a_question_is_quick_and_calls_return_at_once(window, root):
    for number in range(200):
        (root / f"module{number}.py").write_text(SHAPES.format(name=f"scale_{number}") * 20)
    window.it.configure(settings())
    took = []

    def timed(call, *arguments):
        began = time.perf_counter()
        call(*arguments)
        took.append(time.perf_counter() - began)

    timed(window.it.set_roots, [root])
    for number in range(20):
        timed(window.it.changed, root / f"module{number}.py", SHAPES * 200, 1, 2, 2)
        timed(window.it.saved, root / f"module{number}.py")
        await asyncio.sleep(0)
    # The machine may be busy: most calls have to be quick, as a call that waits for anything never is.
    assert sorted(took)[len(took) * 9 // 10] < 0.005


async def test_stopping_leaves_no_thread_and_no_timer(root):
    before = set(threading.enumerate())
    made = Window()
    await made.begin(root)
    made.it.changed(root / "use.py", USE, 1, 2, 2)
    await made.it.stop()
    await made.it.stop()
    assert not made.it._waiting
    assert made.ask(root) == ()
    made.it.configure(settings(max_files=10))
    made.it.set_roots([])
    made.it.changed(root / "use.py", USE, 1, 2, 2)
    await made.until(lambda: not [one for one in set(threading.enumerate()) - before if "index" in one.name])
    assert not made.it._waiting


async def test_an_index_that_cannot_begin_costs_the_context_alone(window, root, monkeypatch, caplog):
    def refuse(*_, **__):
        raise RuntimeError("no more threads")

    monkeypatch.setattr("coder_lsp.retrieval.indexer.Indexer.start", refuse)
    await window.begin(root)
    assert window.ask(root) == ()
    assert window.it.status == IndexStatus(IndexState.OFF)
    assert "the start of the index failed: RuntimeError" in caplog.text
