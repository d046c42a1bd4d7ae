"""Which models and adapters are measured side by side."""

from __future__ import annotations

import pytest
from support import tiny_gguf

from coder_lsp.errors import InputError, ModelNotFound
from coder_lsp.evaluate.repo.subjects import subjects


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    (folder / "other").mkdir()
    models = [tiny_gguf.write_random(folder / "a.gguf"), tiny_gguf.write_random(folder / "other" / "a.gguf", seed=1)]
    return [str(path) for path in models], str(tiny_gguf.write_lora(folder / "team.gguf"))


def test_models_alone_then_the_first_with_each_adapter(files):
    models, adapter = files
    found = subjects(models, [adapter, f"{adapter}@0.5"])
    assert [subject.name for subject in found] == ["a", "a (2)", "a + team", "a + team@0.5"]
    assert [subject.model for subject in found] == [models[0], models[1], models[0], models[0]]
    assert [[laid.scale for laid in subject.adapters] for subject in found] == [[], [], [1.0], [0.5]]
    assert len({subject.label for subject in found}) == 4
    assert subjects(models, [adapter])[0] == found[0]


def test_another_file_of_the_same_name_is_another_subject(files, tmp_path):
    path = tiny_gguf.write_random(tmp_path / "a.gguf")
    (before,) = subjects([str(path)])
    tiny_gguf.write_random(path, seed=9)
    (after,) = subjects([str(path)])
    assert before.name == after.name
    assert before.label != after.label


def test_twice_the_same_and_what_is_not_there(files):
    models, _ = files
    with pytest.raises(InputError, match="named twice"):
        subjects([models[0], models[0]])
    with pytest.raises(ModelNotFound):
        subjects(models[:1], ["absent"])
