"""The metric, by an example counted by hand and by the tasks that its figure is known of."""

from __future__ import annotations

from dataclasses import replace

from coder_lsp.evaluate.identifiers import Recall, Repository


def test_needed_is_what_occurs_elsewhere_and_nowhere_here(repository, task):
    """Of the body: each is nowhere else, for and len are Python's own, area_of is in the import."""
    assert Repository.read(repository).needed(task) == {"outline_length", "area_units"}


def test_what_only_the_own_file_on_disk_has_is_not_elsewhere(repository, task):
    repository.joinpath("report.py").write_text("result = area_units = private_name\n")
    with_private = replace(task, ground_truth=task.ground_truth + "\n    private_name")
    assert Repository.read(repository).needed(with_private) == {"outline_length", "area_units"}


def test_short_names_do_not_count(repository, task):
    repository.joinpath("more.py").write_text("q = qq = 1\n")
    assert Repository.read(repository).needed(replace(task, ground_truth="q + qq")) == {"qq"}


def test_other_languages_have_other_keywords(repository, task):
    repository.joinpath("more.ts").write_text("export function helper() { return undefined; }\n")
    needed = Repository.read(repository).needed
    body = "function helper undefined"
    assert needed(replace(task, path="x.ts", ground_truth=body)) == {"helper"}
    assert needed(replace(task, path="x.py", ground_truth=body)) == {"function", "helper", "undefined"}


def test_files_that_are_no_text_or_not_the_users_are_left_out(repository):
    (repository / "bad.py").write_bytes(b"\xff\xfe\x00")
    (repository / "node_modules").mkdir()
    (repository / "node_modules" / "x.js").write_text("x")
    texts = Repository.read(repository).texts
    assert {"lib/shapes.py", "notes.txt", "report.py"} <= set(texts)
    assert {"bad.py", "node_modules/x.js"}.isdisjoint(texts)


def test_recall_is_counted_over_identifiers_and_over_tasks():
    """Expected: 1 of 4 and 2 of 2 are 3 of 6, and on average (1/4 + 1) / 2; a task that needs nothing is no task."""
    recall = Recall()
    assert recall.add(frozenset({"aa", "bb", "cc", "dd"}), "x = aa.y") == 1
    assert recall.add(frozenset({"ee", "ff"}), "ff(ee)") == 2
    assert recall.add(frozenset(), "anything") == 0
    assert (recall.found, recall.needed, recall.micro, recall.per_task) == (3, 6, 0.5, 0.625)


def test_part_of_a_name_is_not_the_name():
    assert Recall().add(frozenset({"area"}), "area_of area2") == 0


def test_nothing_needed_is_no_division():
    assert (Recall().micro, Recall().per_task) == (0.0, 0.0)


def test_the_shared_tasks_need_what_is_published(shared_tasks):
    """145 tasks, 366 identifiers."""
    repositories = {root: Repository.read(root) for root in shared_tasks.by_root()}
    needed = [repositories[shared_tasks.roots[task.repo]].needed(task) for task in shared_tasks.tasks]
    assert (len(needed), sum(map(len, needed))) == (145, 366)
