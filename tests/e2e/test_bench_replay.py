"""``coder-lsp bench replay``, ``soak`` and ``flame`` as real processes: the typist types into the real server."""

from __future__ import annotations

import json
import sys

import psutil
import pytest


@pytest.fixture
def project(tmp_path):
    root = tmp_path / "levels"
    root.mkdir()
    function = (
        "def raise_{0}(levels: dict[str, int]) -> int:\n"
        "    for name, level in levels.items():\n"
        "        levels[name] = level + {0}\n"
        "    total = sum(levels.values())\n"
        "    print('raised by {0} to', total)\n"
        "    return total\n"
    )
    for module in range(3):
        functions = (function.format(10 * module + number) for number in range(20))
        (root / f"levels_{module}.py").write_text("\n\n".join(functions))
    return root


def test_a_replay_types_everything_and_ends_its_processes(run, project):
    fast = ("--minutes", "0.1", "--speed", "30", "--pause", "0", "0.4", "--patience", "1")
    before = {path: path.read_text() for path in project.iterdir()}
    done = run("bench", "replay", str(project), *fast, "--peer", "none", "--json", "-")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout.splitlines()[-1])
    (section,) = measured["sections"]
    ours = section["subjects"]["coder-lsp"]
    assert ours["characters"]["all"] == section["characters"] > 50
    assert ours["requests"] > 0
    saved, accepted = ours["characters"]["saved"], ours["suggestions"]["accepted"]
    assert ours["keystrokes"] == section["characters"] - saved + accepted
    assert ours["cpu_s"] > 0
    assert ours["line_starts"]["all"] > 0
    # The project itself is only read.
    assert {path: path.read_text() for path in project.iterdir()} == before
    left = [
        process for process in psutil.process_iter(["cmdline"]) if "clr-" in " ".join(process.info["cmdline"] or ())
    ]
    assert left == []


def test_a_soak_answers_all_requests_and_leaves_a_line_for_each_look(run, project, tmp_path):
    record = tmp_path / "soak.jsonl"
    done = run("bench", "soak", str(project), "--minutes", "0.2", "--record", str(record), "--json")
    assert done.stdout, done.stderr
    figures = json.loads(done.stdout)
    requests = figures["requests"]
    assert requests["asked"] == requests["answered"] > 50
    assert (requests["lost"], requests["doubled"], requests["failed"]) == (0, 0, 0)
    assert figures["faults_logged"] == 0
    done_once = {"cancels", "invoked", "branch", "explain", "context", "reopen", "statistics", "model"}
    assert done_once <= set(figures["done"])
    seen = [json.loads(line) for line in record.read_text().splitlines()]
    assert seen[-1]["host"]["memory_mb"] > 100
    assert all(front["memory_mb"] > 10 for front in seen[-1]["fronts"])
    assert "Traceback" not in done.stderr
    assert not [p for p in psutil.process_iter(["cmdline"]) if "cls-" in " ".join(p.info["cmdline"] or ())]


def test_a_peer_that_is_not_installed_is_named_with_the_command_that_installs_it(run, project):
    done = run(
        "bench", "replay", str(project), "--minutes", "0.1", "--peer", "llama-vim", "--peer-python", sys.executable
    )
    if done.returncode == 0:
        pytest.skip("this interpreter has xllamacpp")
    assert "has no module xllamacpp" in done.stderr
    assert "-m pip install xllamacpp" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_flame_accounts_for_the_time_of_a_request(run):
    done = run("bench", "flame", "--json")
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    for kind in ("cold", "full", "key"):
        outer, server = measured[kind]["parts"]
        assert outer["ms"] + server["ms"] == pytest.approx(measured[kind]["ms"], abs=0.1)
        assert "asking the host" in {part["name"] for part in server["parts"]}
    short, full, key = (evaluated(measured[kind]) for kind in ("cold", "full", "key"))
    assert key < short < full


def evaluated(span):
    """Prompt tokens, of the span that reads the prompt."""
    notes = [span.get("note", "")] if span["name"] == "reading the prompt" else []
    return sum(int(note.split()[0]) for note in notes) + sum(map(evaluated, span.get("parts", [])))
