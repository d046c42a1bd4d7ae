"""From a model to a faster one, through the command, on a small model with random weights in single precision."""

from __future__ import annotations

import json
import shutil

import gguf
import pytest
from click.testing import CliRunner
from support import tiny_gguf

from coder_lsp import paths
from coder_lsp.cli.doctor import doctor
from coder_lsp.cli.models import models as models_command
from coder_lsp.engine import hardware, tuned
from coder_lsp.engine.base import EngineOptions
from coder_lsp.engine.llama import LlamaEngine
from coder_lsp.errors import DiskFull, EngineError, InputError, ModelCorrupt, ModelUnsupported
from coder_lsp.models import files, store
from coder_lsp.models.progress import Silent
from coder_lsp.optimise import formats, pipeline, tune

LARGE = 100.0
"""Nats: a budget that allows anything, for random weights have nothing to lose."""


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Times of a tiny model need not be good: single precision loses to anything."""
    monkeypatch.setattr(formats, "SECONDS", 0.002)
    monkeypatch.setattr(formats, "ROUNDS", 1)
    monkeypatch.setattr(pipeline, "SPEED_ROUNDS", 1)
    monkeypatch.setattr(pipeline, "CALIBRATION_TEXTS", 2)
    monkeypatch.setattr(pipeline, "HELD_OUT_TEXTS", 2)


@pytest.fixture
def code(tmp_path):
    folder = tmp_path / "code"
    folder.mkdir()
    for i in range(4):
        (folder / f"module_{i}.py").write_text(f"def function_{i}(argument):\n    return argument + {i}\n" * 60)
    return folder


@pytest.fixture
def tiny(models):
    return store.add(models.slow, "tiny")


def request(model, code, **changes):
    return pipeline.Request(
        **{"model": model, "name": "fast", "code": (code,), "budget": LARGE, "threads": 1} | changes
    )


def command(*arguments):
    return CliRunner().invoke(models_command, ["optimise", *map(str, arguments)], catch_exceptions=False)


def test_the_result_is_a_model_of_the_store_that_can_be_served(tiny, code):
    made = pipeline.optimise(request(tiny, code, trim=False), Silent())
    assert store.resolve("fast") == made.model
    assert made.model.template == tiny.template
    assert store.verify("fast").ok
    assert made.model.bytes < tiny.bytes / 2
    assert made.model.path.stat().st_mode & 0o777 == 0o600
    engine = LlamaEngine.load(made.model.path, EngineOptions(context_tokens=64, sequences=1, threads=1))
    assert engine.special("<|fim_middle|>") is not None
    engine.close()
    assert list((paths.models_dir() / ".partial").iterdir()) == []


def test_where_it_came_from_stands_in_the_record_and_in_the_file(tiny, code):
    made = pipeline.optimise(request(tiny, code, trim=False), Silent())
    derived = json.loads((made.model.path.parent / "model.json").read_text())["derived"]
    assert derived == made.provenance.table() == store.resolve("fast").derived
    assert derived["base_sha256"] == derived["source_sha256"] == tiny.sha256
    assert derived["formats"].keys() == made.options.keys()
    fields = gguf.GGUFReader(made.model.path).fields
    assert fields["coder_lsp.base_sha256"].contents() == tiny.sha256
    assert fields["coder_lsp.derived_from"].contents() == "tiny"
    assert fields["coder_lsp.made_by"].contents().startswith("coder-lsp ")
    assert json.loads(fields["coder_lsp.formats"].contents()) == derived["formats"]
    assert float(fields["coder_lsp.divergence"].contents()) == derived["divergence"]
    written = {tensor.name: tensor.tensor_type.name.lower() for tensor in gguf.GGUFReader(made.model.path).tensors}
    for group, name in derived["formats"].items():
        kind, _, third = group.partition(" ")
        # Four layers in thirds: 0 and 1, 2, 3.
        tensor = f"blk.{ {'1/3': 0, '2/3': 2, '3/3': 3}[third] }.{kind}.weight" if third else "output.weight"
        assert written[tensor] == ("f32" if name == "as it is" else name.lower())


def test_with_the_users_own_code_the_vocabulary_gets_smaller(tmp_path, code):
    padded = tiny_gguf.bpe_tokens()
    padded = tiny_gguf.Tokens(
        padded.kind,
        [*padded.texts, *(f"[PAD{i}]" for i in range(200))],
        [*padded.types, *[5] * 200],
        padded.merges,
        eos=padded.eos,
    )
    shape = tiny_gguf.Shape(width=256, layers=1, inner=512)
    model = store.add(tiny_gguf.write_random(tmp_path / "padded.gguf", padded, shape), "padded")
    made = pipeline.optimise(request(model, code), Silent())
    assert 0 < made.provenance.tokens_kept < len(padded.texts)
    assert made.provenance.longer_percent == 0.0
    assert store.verify("fast").ok


def test_a_more_exact_file_of_the_same_model_is_the_source(tmp_path, code, models):
    """Both say the same of themselves; the one with more bits for each weight is taken."""
    exact = store.add(models.slow, "exact")
    coarse = pipeline.optimise(request(exact, code, name="coarse", trim=False), Silent()).model
    copy = tmp_path / "small.gguf"
    shutil.copy(coarse.path, copy)
    small = store.add(copy, "small")
    made = pipeline.optimise(request(small, code, source=exact.path, trim=False), Silent())
    assert made.provenance.derived_from == "small"
    assert made.provenance.base_sha256 == small.sha256
    assert made.provenance.source_sha256 == exact.sha256


def test_another_model_cannot_be_the_source(tiny, code, models):
    with pytest.raises(ModelUnsupported, match="another shape"):
        pipeline.optimise(request(tiny, code, source=models.random), Silent())


def test_a_budget_that_allows_nothing_changes_nothing_and_says_so(tiny, code):
    with pytest.raises(EngineError, match="no format makes tiny faster"):
        pipeline.optimise(request(tiny, code, budget=1e-12), Silent())
    nothing_is_left("fast")


def nothing_is_left(name):
    assert not store.folder(name).exists()
    assert not store.workspace(name).exists()
    assert name not in [model.name for model in store.installed()]


def test_a_damaged_file_a_full_disk_and_a_missing_source_leave_nothing(tiny, code, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no file at"):
        pipeline.optimise(request(tiny, code, source=tmp_path / "missing.gguf"), Silent())
    nothing_is_left("fast")
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny.path.read_bytes()[:100_000])
    with pytest.raises(ModelCorrupt, match="truncated"):
        pipeline.optimise(request(tiny, code, source=cut), Silent())
    nothing_is_left("fast")
    monkeypatch.setattr(files, "SPARE_BYTES", 1 << 60)
    with pytest.raises(DiskFull, match="needed"):
        pipeline.optimise(request(tiny, code), Silent())
    nothing_is_left("fast")


def test_an_interrupt_while_it_works_leaves_nothing(tiny, code):
    class Interrupt(Silent):
        def note(self, text):
            if text.startswith("harm of"):
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.optimise(request(tiny, code), Interrupt())
    nothing_is_left("fast")


@pytest.mark.parametrize("name", ["qwen2.5-coder-0.5b-instruct", "tiny", "No Spaces", "../x"])
def test_a_name_that_is_taken_or_impossible_is_refused(tiny, code, name):
    with pytest.raises(InputError, match=r"catalogue|already|cannot name"):
        pipeline.optimise(request(tiny, code, name=name), Silent())
    assert store.verify("tiny").ok


def test_the_command_prints_what_became_of_each_group_and_the_list_shows_the_model(tiny, code):
    done = command("tiny", "--code", code, "--budget", "100", "--keep-vocabulary")
    assert done.exit_code == 0
    assert "attn_q 1/3" in done.stdout
    assert "coder-lsp models use tiny-optimised" in done.stdout
    listed = CliRunner().invoke(models_command, ["list"], catch_exceptions=False).stdout
    (row,) = [line for line in listed.splitlines() if "tiny-optimised" in line]
    assert "made from tiny" in row


def test_as_json_the_last_line_is_the_result(tiny, code):
    done = command("tiny", "--name", "fast", "--code", code, "--budget", "100", "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert {event["event"] for event in events[:-1]} <= {"note", "begin", "progress"}
    result = events[-1]
    assert (result["event"], result["model"]) == ("done", "fast")
    assert result["sha256"] == store.resolve("fast").sha256
    assert result["before"]["decode"] > 0


def test_an_unknown_model_is_an_error_of_its_own():
    from coder_lsp.errors import ModelNotFound

    with pytest.raises(ModelNotFound):
        command("no-such-model")


def test_tuning_times_every_way_and_remembers_the_best_for_the_engine(tiny, monkeypatch):
    monkeypatch.setattr(tune, "ROUNDS", 1)
    monkeypatch.setattr(tune, "BUSY", 1.0)
    done = CliRunner().invoke(doctor, ["--tune", "--json", "--model", "tiny"], catch_exceptions=False)
    assert done.exit_code == 0
    result = json.loads(done.stdout)
    ways = [
        (way["threads"], way["flash_attention"], way["kv_type"]) for way in (each["way"] for each in result["timed"])
    ]
    assert len(set(ways)) == len(ways) == len(tune._thread_counts(hardware.cores().count)) + 2
    found = tuned.recall(tiny.path)
    assert found is not None
    assert (found.threads, found.kv_type) == (result["threads"], result["kv_type"])
    assert all(each["prefill"] > 0 and each["decode"] > 0 for each in result["timed"])


def test_what_was_timed_beside_busy_programs_is_not_remembered(tiny, monkeypatch):
    monkeypatch.setattr(tune, "ROUNDS", 1)
    monkeypatch.setattr(tune, "BUSY", -1.0)
    done = CliRunner().invoke(doctor, ["--tune", "--model", "tiny"], catch_exceptions=False)
    assert "not remembered: other programs took" in done.stdout
    assert tuned.recall(tiny.path) is None
