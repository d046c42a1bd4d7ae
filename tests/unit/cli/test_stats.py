"""``coder-lsp stats`` on real histories: the report, training, forgetting, and what each says when it cannot."""

from __future__ import annotations

import json
import re
from contextlib import closing
from dataclasses import replace

import pytest
from click.testing import CliRunner
from support.histories import AT, history, row

from coder_lsp.cli.stats import stats
from coder_lsp.completion.show_filter import load_weights, weights_path
from coder_lsp.errors import CoderLspError, InputError
from coder_lsp.paths import config_file, state_dir
from coder_lsp.stats.events import Fate
from coder_lsp.stats.store import History, history_path


def keep(rows):
    with closing(History()) as kept:
        kept.write(rows)


def run(*arguments):
    result = CliRunner().invoke(stats, list(arguments))
    if isinstance(result.exception, CoderLspError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result


def as_json(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture
def some():
    keep(
        [
            row(1, accepted_characters=1200, latency_ms=100),
            row(2, Fate.REJECTED, latency_ms=300),
            row(3, Fate.IGNORED, latency_ms=200),
            row(4, Fate.ACCEPTED, language="go", accepted_characters=34, latency_ms=2000, at=AT - 5 * 86_400),
        ]
    )


@pytest.mark.usefixtures("some")
def test_the_report_by_language_and_overall():
    lines = run().stdout.splitlines()
    assert lines[0].split() == ["LANGUAGE", "SHOWN", "ACCEPTED", "OF", "THOSE", "READ", "SAVED", "P50", "P95"]
    assert lines[1].split() == ["python", "3", "1", "50%", "1,200", "200", "ms", "300", "ms"]
    assert lines[2].split() == ["go", "1", "1", "100%", "34", "2,000", "ms", "2,000", "ms"]
    assert lines[3].split()[:5] == ["all", "4", "2", "67%", "1,234"]
    assert lines[4].startswith("1 rejected, 0 typed by hand, 1 gone unread; 1,234 characters")


@pytest.mark.usefixtures("some")
def test_the_report_as_json_of_the_last_days():
    figures = as_json("--days", "2")
    assert figures["last_days"] == 2
    assert [day["figures"]["shown"] for day in figures["days"]] == [3]
    assert figures["overall"]["shown"] == 3
    assert figures["overall"]["acceptance"] == 0.5
    assert list(figures["languages"]) == ["python"]


@pytest.mark.usefixtures("some")
def test_a_page_is_written_beside_the_report(tmp_path):
    result = run("--html", str(tmp_path / "page.html"))
    assert "written to" in result.stderr
    assert "1,234" in result.stdout
    text = (tmp_path / "page.html").read_text()
    assert "<b>1,234</b>characters saved" in text
    with pytest.raises(CoderLspError, match=re.escape("cannot write /proc/nowhere.html")):
        run("--html", "/proc/nowhere.html")


def test_without_a_history_it_says_so_and_makes_none():
    assert run().stdout == "no suggestion was shown yet\n"
    assert "in the last 3 days" in run("--days", "3").stdout
    assert as_json()["overall"]["latency_p50_ms"] is None
    assert not history_path().exists()


@pytest.mark.usefixtures("some")
def test_a_history_that_is_not_kept_any_more_is_said():
    config_file().parent.mkdir(parents=True)
    config_file().write_text("[stats]\nenabled = false\n")
    result = run()
    assert "stats.enabled is off" in result.stderr
    assert "python" in result.stdout


def test_forgetting_deletes_the_history_and_what_was_learned_from_it():
    keep(history(600))
    run("train-filter")
    assert weights_path().exists()
    assert run("--forget").stdout == "forgot 600 suggestions and the filter trained on such\n"
    assert not weights_path().exists()
    assert run().stdout == "no suggestion was shown yet\n"
    assert as_json("--forget") == {"forgotten": 0, "filter_deleted": False}


def test_a_damaged_history_is_set_aside_with_a_word():
    state_dir().joinpath(history_path().name).write_bytes(b"x" * 5000)
    result = run()
    assert result.stdout == "no suggestion was shown yet\n"
    assert "set aside" in result.stderr or "begin anew" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--days", "2", "--forget"),
        ("--forget", "train-filter"),
        ("--json", "train-filter"),
        ("--html", "x", "--forget"),
    ],
)
def test_options_that_do_not_go_together(arguments):
    with pytest.raises(InputError):
        run(*arguments)


def test_training_on_too_little_says_how_much_more_and_what_is_used_meanwhile():
    keep(history(150))
    output = run("train-filter").stdout
    assert "50 more suggestions that you accept or pass over" in output
    assert output.endswith("in use: the fixed rule\n")
    assert not weights_path().exists()


def test_training_writes_a_filter_that_loads():
    keep(history(1000))
    output = run("train-filter").stdout
    assert re.search(r"on the latest 200, which it had not seen:", output)
    assert re.search(r"trained +shows \d+%: \d+% of what was accepted; holds back \d+% of what was rejected", output)
    assert re.search(r"fixed rule +shows \d+%", output)
    assert output.endswith(f"it beats the fixed rule\nwritten to {weights_path()}\n")
    weights = load_weights()
    assert weights is not None
    assert weights.rows == 800
    assert 0 < weights.threshold < 1


def test_a_dry_run_writes_nothing_and_says_the_same():
    keep(history(1000))
    dry = as_json("train-filter", "--dry-run")
    assert not weights_path().exists()
    assert (dry["written"], dry["in_use"]) == (False, "rule")
    wet = as_json("train-filter")
    assert (wet["written"], wet["in_use"], wet["path"]) == (True, "trained", str(weights_path()))
    assert wet["training"] == dry["training"]
    assert wet["training"]["auc"] > 0.7


def test_a_filter_that_is_no_better_leaves_the_old_one_in_place():
    keep(history(1000))
    run("train-filter")
    before = weights_path().read_bytes()
    run("--forget")
    weights_path().write_bytes(before)
    keep([replace(each, features=history(1)[0].features) for each in history(600)])
    output = run("train-filter").stdout
    assert output.endswith("in use: the filter trained before\n")
    assert weights_path().read_bytes() == before


def test_a_folder_that_cannot_be_written_is_an_error_with_its_path():
    keep(history(1000))
    weights_path().mkdir()
    with pytest.raises(CoderLspError, match=r"show_filter\.json"):
        run("train-filter")
