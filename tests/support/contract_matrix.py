"""Runs the contract suite and prints what each engine passed as a Markdown table: a row a promise, a column an engine.

.venv/bin/python tests/support/contract_matrix.py
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parents[2]
SUITE = sorted((ROOT / "tests" / "native").glob("test_engine_contract*.py"))
_NAME = re.compile(r"(?P<test>\w+)\[(?P<engine>remote:llama(?:\.cpp|-cpp-python)|\w+)(-(?P<case>.*))?\]", re.DOTALL)


def run() -> tuple[int, ET.Element]:
    """Exit status and report of pytest."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--junitxml={report}",
            *map(str, SUITE),
        ]
        done = subprocess.run(command, cwd=ROOT, stdout=sys.stderr, check=False)
        return done.returncode, ET.parse(report).getroot()


def tally(report: ET.Element) -> tuple[dict[str, dict[str, list[str]]], dict[str, str]]:
    """Outcomes by test and engine, and why what was skipped was."""
    outcomes: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    reasons: dict[str, str] = {}
    for case in report.iter("testcase"):
        found = _NAME.fullmatch(case.get("name", ""))
        if found is None:
            continue
        skipped = case.find("skipped")
        failed = case.find("failure") is not None or case.find("error") is not None
        outcome = "failed" if failed else "skipped" if skipped is not None else "passed"
        outcomes[found["test"]][found["engine"]].append(outcome)
        if skipped is not None:
            reasons[found["engine"], found["test"]] = skipped.get("message", "")
    return outcomes, reasons


def cell(outcomes: list[str]) -> str:
    """``yes`` where all cases passed, ``–`` where the engine does not have it."""
    if not outcomes:
        return ""
    if "failed" in outcomes:
        return f"**{outcomes.count('failed')} of {len(outcomes)} failed**"
    if "passed" not in outcomes:
        return "–"
    return "yes" if outcomes.count("passed") == len(outcomes) else f"{outcomes.count('passed')} of {len(outcomes)}"


def table(outcomes: dict[str, dict[str, list[str]]]) -> list[str]:
    engines = sorted({engine for by_engine in outcomes.values() for engine in by_engine})
    lines = [f"| promise | {' | '.join(engines)} |", f"|---|{'---|' * len(engines)}"]
    for test, by_engine in outcomes.items():
        promise = test.removeprefix("test_").replace("_", " ")
        lines.append(f"| {promise} | {' | '.join(cell(by_engine.get(engine, [])) for engine in engines)} |")
    totals = [
        sum(outcome == "passed" for by in outcomes.values() for outcome in by.get(engine, [])) for engine in engines
    ]
    return [*lines, f"| cases passed | {' | '.join(map(str, totals))} |"]


def main() -> int:
    status, report = run()
    outcomes, reasons = tally(report)
    print("\n".join(table(outcomes)))
    why = defaultdict(list)
    for (engine, _), reason in reasons.items():
        if reason not in why[engine]:
            why[engine].append(reason)
    for engine, each in why.items():
        print(f"\n`{engine}`, –: {'; '.join(each)}")
    return status


if __name__ == "__main__":
    sys.exit(main())
