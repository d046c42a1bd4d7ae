"""What coder-lsp is made of is locked, licensed as listed, in the bill of materials, and asked about; and scripts/setup
takes it from the lock.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomlkit
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "supply_chain.py"
MACHINES = [
    (python, system, machine)
    for python in ("3.10", "3.11", "3.12", "3.13")
    for system, machine in (("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64"), ("darwin", "x86_64"))
]


@pytest.fixture(scope="module")
def chain():
    spec = importlib.util.spec_from_file_location("supply_chain", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    sys.modules["supply_chain"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["supply_chain"]


@pytest.fixture(scope="module")
def stated():
    """Requirements of pyproject.toml: those of the base under an empty name, and those of each extra."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")

    toml = tomlkit.parse(text).unwrap()["project"]
    extras = toml["optional-dependencies"]
    listed = {"": toml["dependencies"], "remote": extras["remote"], "dev": extras["dev"]}
    return {name: [Requirement(each) for each in each_set] for name, each_set in listed.items()}


def script(*arguments):
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["base", "remote", "dev"])
def test_every_locked_file_has_a_digest_and_no_place_it_comes_from(chain, name):
    entries = chain.read_lock(chain.LOCKS / f"{name}.txt")
    assert len(entries) > 40
    for entry in entries:
        assert entry.hashes, entry.name
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in entry.hashes), entry.name
    text = (chain.LOCKS / f"{name}.txt").read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("machine", MACHINES, ids="-".join)
def test_the_lock_is_what_pyproject_asks_for_on_each_machine(chain, stated, machine):
    """One version of each package, within the stated limits, for each Python and system that we name."""
    environment = chain.environment(*machine)
    for name, extras in chain.SETS.items():
        locked = {}
        for entry in chain.read_lock(chain.LOCKS / f"{name}.txt"):
            if entry.is_for(environment):
                assert entry.name not in locked, f"{entry.name} twice"
                locked[entry.name] = Version(entry.version)
        wanted = [each for key in ("", *extras) for each in stated[key]] + [Requirement(each) for each in chain.BUILD]
        assert len(wanted) > 10
        for requirement in wanted:
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = locked.get(canonicalize_name(requirement.name))
                assert version is not None, f"{requirement} is not in {name}"
                assert requirement.specifier.contains(version, prereleases=True), f"{requirement}: {version} in {name}"


def test_larger_locks_have_the_versions_of_smaller_ones(chain):
    base = {(each.name, each.version, each.hashes) for each in chain.read_lock(chain.LOCKS / "base.txt")}
    for name in ("remote", "dev"):
        assert base <= {(each.name, each.version, each.hashes) for each in chain.read_lock(chain.LOCKS / f"{name}.txt")}


@pytest.mark.parametrize(
    "line", ["click", "click>=8", "click==8.1", "click @ https://example.org/x.whl", "click==8.1 --hash=md5:00"]
)
def test_what_is_not_locked_is_no_lock(chain, tmp_path, line):
    (tmp_path / "x.txt").write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"x\.txt|unpack|Expected"):
        chain.read_lock(tmp_path / "x.txt")


def test_pip_refuses_another_file_under_a_locked_name(tmp_path):
    """What the digests are for: a package that an index has replaced is not installed."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    with zipfile.ZipFile(wheels / "mdurl-0.1.2-py3-none-any.whl", "w") as wheel:
        wheel.writestr("mdurl.py", "raise SystemExit('hostile')")
        wheel.writestr("mdurl-0.1.2.dist-info/METADATA", "Metadata-Version: 2.1\nName: mdurl\nVersion: 0.1.2\n")
        wheel.writestr("mdurl-0.1.2.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr("mdurl-0.1.2.dist-info/RECORD", "")
    text = (ROOT / "requirements" / "base.txt").read_text(encoding="utf-8")
    block = re.search(r"^mdurl==.*?[0-9a-f]$(?=\n[a-z])", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "one.txt").write_text(block[0] + "\n")
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--find-links", str(wheels), "--require-hashes"]
    done = subprocess.run(
        [*command, "--no-deps", "--target", str(tmp_path / "there"), "-r", str(tmp_path / "one.txt")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "there").exists()


def test_every_licence_of_a_plain_installation_is_on_the_list(chain):
    """Also what only other systems install is looked at, where it is here."""
    names = chain.installed_tree(())
    assert len(names) > 40
    assert {name: chain.licence_of(name) for name in names if not chain.is_allowed(chain.licence_of(name))} == {}


@pytest.mark.parametrize("expression", ["", "GPL-3.0-only", "AGPL-3.0-or-later AND MIT", "MIT AND SSPL-1.0"])
def test_other_licences_are_not(chain, expression):
    assert not chain.is_allowed(expression)


def test_the_page_of_licences_has_what_is_installed(chain):
    """Names and licences of the first table; the rest of the page depends on which extras are here."""
    page = chain.LICENCES.read_text(encoding="utf-8").partition("## Inside")[0].partition("## With the extra")[0]
    rows = dict(re.findall(r"^\| ([\w.-]+) \| ([^|]+) \|$", page, re.MULTILINE))
    rows.pop("package")
    assert rows == {name: chain.licence_of(name) for name in chain.installed_tree(())}


def test_the_bill_of_materials_has_every_locked_package_with_its_digests(chain):
    """CycloneDX 1.6; the same from the same lock."""
    entries = chain.read_lock(chain.LOCKS / "base.txt")
    done = script("sbom")
    assert done.returncode == 0, done.stderr
    bill = json.loads(done.stdout)
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    assert re.fullmatch(
        r"urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-8[0-9a-f]{3}-[0-9a-f]{12}", bill["serialNumber"]
    )
    assert [each["purl"] for each in bill["components"]] == sorted(
        {f"pkg:pypi/{entry.name}@{entry.version}" for entry in entries},
        key=lambda purl: (purl.partition("@")[0], Version(purl.partition("@")[2])),
    )
    for component, entry in zip(
        bill["components"], sorted(entries, key=lambda each: (each.name, Version(each.version))), strict=True
    ):
        assert tuple(each["hashes"][0]["content"] for each in component["externalReferences"]) == entry.hashes
    assert script("sbom").stdout == done.stdout


def test_the_bill_of_materials_is_valid_by_its_own_schema():
    pytest.importorskip("cyclonedx.validation.json", reason="cyclonedx-python-lib[json-validation] is not installed")
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(script("sbom", "--set", "dev").stdout) is None


def advisory(name="click", **affected):
    return {
        "id": "OSV-TEST-1",
        "summary": "planted",
        "affected": [{"package": {"ecosystem": "PyPI", "name": name}, **affected}],
    }


def test_a_planted_advisory_against_a_locked_version_is_found(chain, tmp_path):
    """In each form in which advisories come."""
    (click,) = [each for each in chain.read_lock(chain.LOCKS / "base.txt") if each.name == "click"]
    planted, other = advisory("Click", versions=[click.version]), advisory("click", versions=["0.1"])
    one, lines, archive = tmp_path / "one.json", tmp_path / "all.jsonl", tmp_path / "all.zip"
    one.write_text(json.dumps([other, planted]))
    lines.write_text(f"{json.dumps(other)}\n{json.dumps(planted)}\n")
    with zipfile.ZipFile(archive, "w") as made:
        made.writestr("OSV-TEST-0.json", json.dumps(other))
        made.writestr("OSV-TEST-1.json", json.dumps(planted))
    for database in (one, lines, archive):
        done = script("audit", "--database", str(database))
        assert done.returncode == 1, done.stderr
        assert f"click {click.version}: OSV-TEST-1: planted" in done.stdout
        assert "2 advisories: 1 known weaknesses" in done.stdout
    one.write_text(json.dumps([other, planted | {"withdrawn": "2026-01-01T00:00:00Z"}]))
    done = script("audit", "--database", str(one))
    assert done.returncode == 0
    assert "no known weaknesses" in done.stdout


@pytest.mark.parametrize(
    ("events", "concerned"),
    [
        ([{"introduced": "0"}], True),
        ([{"introduced": "0"}, {"fixed": "8.0"}], False),
        ([{"introduced": "0"}, {"fixed": "8.1.0"}], False),
        ([{"introduced": "0"}, {"fixed": "8.10"}], True),
        ([{"introduced": "8.2"}], False),
        ([{"introduced": "0"}, {"last_affected": "8.1"}], True),
        ([{"introduced": "0"}, {"last_affected": "8.0.9"}], False),
        ([{"fixed": "9"}, {"introduced": "8.1"}], True),
        ([{"introduced": "0"}, {"fixed": "7"}, {"introduced": "8"}, {"fixed": "8.2"}], True),
        ([{"introduced": "not a version"}], False),
    ],
)
def test_ranges_are_read_as_their_specification_says(chain, events, concerned):
    entry = chain.Locked("click", "8.1", "", ("0" * 64,))
    ranges = [{"type": "ECOSYSTEM", "events": events}]
    assert chain.concerns(advisory(ranges=ranges), entry) is concerned
    assert not chain.concerns(advisory("other", ranges=ranges), entry)


@pytest.mark.parametrize("content", ["{", "[1]", '{"name": 1}', "PK"])
def test_a_database_that_is_none_is_an_error_and_no_good_news(tmp_path, content):
    for name in ("x.json", "x.zip"):
        (tmp_path / name).write_text(content)
        done = script("audit", "--database", str(tmp_path / name))
        assert done.returncode == 2
        assert "cannot be read as advisories" in done.stderr


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ({"dependencies": [{"name": "click", "version": "8.1", "vulns": []}]}, 0, "1 locked versions asked about: no"),
        (
            {"dependencies": [{"name": "click", "version": "8.1", "skip_reason": "not found"}]},
            3,
            "knows nothing of 1 of 1",
        ),
        ({"dependencies": []}, 3, "not known"),
        ("no network", 3, "not known"),
        (
            {"dependencies": [{"name": "c", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}]},
            1,
            "c 1: CVE-1: fixed in 2",
        ),
    ],
)
def test_where_nobody_could_be_asked_that_is_no_good_news(tmp_path, monkeypatch, said, status, words):
    """pip-audit itself ends with 0 and "No known vulnerabilities found" where an index tells of none at all."""
    program = tmp_path / "pip-audit"
    program.write_text(f"#!{sys.executable}\nimport json\nprint({json.dumps(said)!r})\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    done = script("audit", "--set", "base")
    assert done.returncode == status
    assert words in done.stdout + done.stderr


def test_differences_between_two_wheels_are_named(chain, tmp_path):
    paths = [tmp_path / "one.whl", tmp_path / "two.whl"]
    for path, content, year in zip(paths, ("a", "b"), (2020, 2021), strict=True):
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(zipfile.ZipInfo("same", (2020, 1, 1, 0, 0, 0)), "x")
            made.writestr(zipfile.ZipInfo("content", (2020, 1, 1, 0, 0, 0)), content)
            made.writestr(zipfile.ZipInfo("time", (year, 1, 1, 0, 0, 0)), "x")
            made.writestr(f"only {content}", "x")
    assert chain.differences(*paths) == [
        "only in one: only a",
        "only in one: only b",
        "content: content",
        "time or mode: time",
    ]
    assert chain.differences(paths[0], paths[0]) == []
