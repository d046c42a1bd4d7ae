"""The order of files: dependencies first, as DeepSeek-Coder's algorithm 1 says it."""

from __future__ import annotations

import itertools
import random

from hypothesis import given
from hypothesis import strategies as st

from coder_lsp.retrieval.graph import dependency_order

_names = st.sampled_from([f"f{number}" for number in range(9)])
_graphs = st.dictionaries(_names, st.sets(_names, max_size=5), max_size=9)


def algorithm_1(files: list[str], depends_on: dict[str, set[str]]) -> list[list[str]]:
    """The paper's pseudocode word by word, with its ties (which it leaves open) decided by path."""
    graphs: dict[str, list[str]] = {}
    in_degree: dict[str, int] = {}
    for file in files:
        graphs[file] = []
        in_degree[file] = 0
    for file_a in files:
        for file_b in files:
            if file_a != file_b and file_b in depends_on.get(file_a, ()):
                graphs[file_b].append(file_a)
                in_degree[file_a] += 1
    all_results = []
    for subgraph in disconnected_subgraphs(graphs):
        results: list[str] = []
        while len(results) != len(subgraph):
            file = min((file for file in subgraph if file not in results), key=lambda file: (in_degree[file], file))
            for node in graphs[file]:
                in_degree[node] -= 1
            results.append(file)
        all_results.append(results)
    return all_results


def disconnected_subgraphs(graphs: dict[str, list[str]]) -> list[set[str]]:
    groups = [{file} for file in sorted(graphs)]
    for file, users in graphs.items():
        for user in users:
            one = next(group for group in groups if file in group)
            other = next(group for group in groups if user in group)
            if one is not other:
                groups.remove(other)
                one |= other
    return sorted(groups, key=min)


def test_what_is_imported_comes_first():
    assert dependency_order(["app", "base", "mid"], {"app": ["mid"], "mid": ["base"]}) == [["base", "mid", "app"]]


def test_groups_that_have_nothing_to_do_with_each_other_stay_apart():
    assert dependency_order(["b", "a", "z"], {"b": ["z"]}) == [["a"], ["z", "b"]]


def test_a_cycle_is_cut_at_the_file_with_the_fewest_dependencies():
    """a <-> b, and c needs both: a goes first by its path; nothing waits for ever."""
    assert dependency_order(["c", "b", "a"], {"a": ["b"], "b": ["a"], "c": ["a", "b"]}) == [["a", "b", "c"]]


def test_files_outside_and_a_file_itself_do_not_count():
    assert dependency_order(["a", "b", "a"], {"a": ["a", "gone"], "gone": ["b"]}) == [["a"], ["b"]]


@given(st.lists(_names, unique=True), _graphs)
def test_it_is_the_papers_algorithm(files, depends_on):
    assert dependency_order(files, depends_on) == algorithm_1(files, depends_on)


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=80))
def test_without_cycles_every_dependency_comes_before_its_users(pairs):
    """Edges from the larger to the smaller number cannot make a cycle."""
    depends_on: dict[str, set[str]] = {}
    for one, other in pairs:
        if one != other:
            depends_on.setdefault(str(max(one, other)), set()).add(str(min(one, other)))
    order = [file for group in dependency_order([str(number) for number in range(31)], depends_on) for file in group]
    for user, dependencies in depends_on.items():
        assert all(order.index(dependency) < order.index(user) for dependency in dependencies)


def test_the_order_does_not_depend_on_the_order_of_the_files():
    files = [f"f{number}" for number in range(50)]
    chance = random.Random(3)
    depends_on = {file: chance.sample(files, 3) for file in files}
    shuffled = chance.sample(files, len(files))
    assert dependency_order(files, depends_on) == dependency_order(shuffled, depends_on)


def test_a_chain_of_a_hundred_thousand_files_is_ordered():
    """No recursion: a chain this long would overflow it."""
    files = [f"{number:06}" for number in range(100_000)]
    chain = {file: [before] for before, file in itertools.pairwise(files)}
    assert dependency_order(files[::-1], chain) == [files]
