#!/usr/bin/env python3
"""What coder-lsp is made of: locked versions, licences, a bill of materials, known weaknesses, a wheel built twice.

    .venv/bin/python scripts/supply_chain.py lock        renew requirements/*.txt (needs a package index)
    .venv/bin/python scripts/supply_chain.py licences    renew docs/licences.md out of what .venv has
    .venv/bin/python scripts/supply_chain.py sbom        write a bill of materials (CycloneDX 1.6, JSON)
    .venv/bin/python scripts/supply_chain.py audit       ask whether a weakness of a locked version is known
    .venv/bin/python scripts/supply_chain.py wheel       build the wheel twice, in two places, and compare

The first and the fourth use uv and pip-audit, which are no part of coder-lsp: those on the PATH, or else installed into
build/tools. Nothing here names an index: pip's and uv's own settings decide where things come from.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ROOT = Path(__file__).resolve().parents[1]
LOCKS = ROOT / "requirements"
LICENCES = ROOT / "docs" / "licences.md"
SETS = {"base": (), "remote": ("remote",), "dev": ("dev",)}
"""Name of a lock -> the extras in it. Training is not locked: which torch is right depends on the machine."""
BUILD = ("cmake", "ninja", "nanobind>=2.4", "scikit-build-core>=0.11")
"""What scripts/setup builds with."""
OLDEST_PYTHON = "3.10"
UNREACHABLE = 3
"""Exit status of ``audit`` where nobody could be asked: nothing is known, neither good nor bad."""

HEADER = """\
# Made by scripts/supply_chain.py lock; do not edit. For Python {python} and newer, Linux and macOS, x86-64 and arm64.
# pip install --require-hashes -r requirements/{name}.txt
"""


@dataclass(frozen=True)
class Locked:
    """One entry of a lock."""

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    """SHA-256, of each file that an index may have of this version."""

    def is_for(self, environment: dict[str, str]) -> bool:
        return not self.marker or Marker(self.marker).evaluate(environment)


# -- the lock


def lock(_: argparse.Namespace) -> int:
    uv = tool("uv")
    LOCKS.mkdir(exist_ok=True)
    base = LOCKS / "base.txt"
    for name, extras in SETS.items():
        target = LOCKS / f"{name}.txt"
        with tempfile.TemporaryDirectory() as folder:
            wanted, made = Path(folder, "build.in"), Path(folder, "made.txt")
            wanted.write_text("\n".join(BUILD) + "\n", encoding="utf-8")
            command = [
                uv,
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--generate-hashes",
                "--no-header",
                "--no-annotate",
            ]
            command += ["--no-emit-index-url", "--no-emit-find-links", "--python-version", OLDEST_PYTHON]
            # All sets agree: a larger one has the versions of the smallest.
            command += [] if name == "base" else ["--constraints", str(base)]
            command += [part for extra in extras for part in ("--extra", extra)]
            run([*command, "--output-file", str(made), str(ROOT / "pyproject.toml"), str(wanted)])
            target.write_text(
                HEADER.format(python=OLDEST_PYTHON, name=name) + made.read_text(encoding="utf-8"), "utf-8"
            )
        print(f"{target.relative_to(ROOT)}: {len(read_lock(target))} packages")
    return 0


def read_lock(path: Path) -> list[Locked]:
    """ValueError, with its line, for an entry that is not ``name==version [; marker]`` and hashes."""
    entries = []
    text = re.sub(r"\\\n\s*", " ", path.read_text(encoding="utf-8"))
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        stated, *hashes = re.split(r"\s+--hash=sha256:", line.strip())
        requirement = Requirement(stated)
        (only,) = requirement.specifier
        if only.operator != "==" or requirement.url or requirement.extras or not hashes:
            raise ValueError(f"{path.name}: not locked: {line[:80]}")
        marker = str(requirement.marker) if requirement.marker else ""
        entries.append(Locked(canonicalize_name(requirement.name), only.version, marker, tuple(hashes)))
    return entries


def environment(python: str, system: str, machine: str) -> dict[str, str]:
    """What markers are asked about, for another machine than this one: ``("3.12", "linux", "aarch64")``."""
    found: dict[str, str] = {**default_environment()}  # type: ignore[dict-item]  # a TypedDict of strings
    names = {"linux": ("posix", "Linux"), "darwin": ("posix", "Darwin")}
    os_name, platform_system = names[system]
    return found | {
        "python_version": python,
        "python_full_version": f"{python}.9",
        "sys_platform": system,
        "platform_machine": machine,
        "platform_system": platform_system,
        "os_name": os_name,
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }


# -- licences

ALLOWED = frozenset(
    {
        "0BSD", "Apache-2.0", "Apache-2.0 WITH LLVM-exception", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0",
        "CNRI-Python", "GCC-exception-3.1", "ISC", "LGPL-3.0-or-later", "MIT", "MIT-0", "MPL-2.0", "PSF-2.0",
        "Python-2.0", "Unlicense", "Zlib",
    }
)  # fmt: skip
"""SPDX identifiers that may be in what is installed without extras: permissive ones, and two that ask for the sources
of themselves only (MPL, LGPL: used as they are, as packages of their own).
"""
_CLASSIFIERS = {
    "License :: OSI Approved :: MIT License": "MIT",
    "License :: OSI Approved :: Apache Software License": "Apache-2.0",
    "License :: OSI Approved :: BSD License": "BSD-3-Clause",
    "License :: OSI Approved :: ISC License (ISCL)": "ISC",
    "License :: OSI Approved :: Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "License :: OSI Approved :: Python Software Foundation License": "PSF-2.0",
    "License :: OSI Approved :: GNU Lesser General Public License v3 or later (LGPLv3+)": "LGPL-3.0-or-later",
    "License :: OSI Approved :: The Unlicense (Unlicense)": "Unlicense",
    "License :: CC0 1.0 Universal (CC0 1.0) Public Domain Dedication": "CC0-1.0",
}
_SAID = {
    "mit": "MIT", "mit license": "MIT", "the mit license": "MIT", "apache 2.0": "Apache-2.0", "apache": "Apache-2.0",
    "apache license 2.0": "Apache-2.0", "apache license, version 2.0": "Apache-2.0", "apache-2.0": "Apache-2.0",
    "apache software license": "Apache-2.0", "bsd": "BSD-3-Clause", "new bsd": "BSD-3-Clause",
    "bsd 3-clause": "BSD-3-Clause",
    "lgplv3+": "LGPL-3.0-or-later", "lgpl v3+": "LGPL-3.0-or-later", "mpl-2.0": "MPL-2.0", "mpl 2.0": "MPL-2.0",
    "unlicense": "Unlicense", "isc": "ISC", "psf": "PSF-2.0",
}  # fmt: skip
_INSIDE = """\
## Inside of these

| part | where | licence |
|---|---|---|
| llama.cpp and ggml | `libllama`, `libggml*` in llama-cpp-python, which the host loads | MIT |
| nanobind | linked into `_native`, `_requantise` and `_bm25` | BSD-3-Clause |
| robin-map | in nanobind | MIT |
| grammars of tree-sitter | in tree-sitter-language-pack, which lists each with its licence; only permissively licensed ones are in it | MIT, Apache-2.0, BSD, ISC, Unlicense |
| CPython, the C and C++ libraries | of your system, linked when the program starts | PSF-2.0; LGPL-2.1-or-later, GPL-3.0 with the runtime library exception |

"""  # noqa: E501  (a table's rows)


def licences(options: argparse.Namespace) -> int:
    page = licence_page()
    if options.check:
        if LICENCES.read_text(encoding="utf-8") == page:
            return 0
        print("docs/licences.md is not up to date: scripts/supply_chain.py licences", file=sys.stderr)
        return 1
    LICENCES.write_text(page, "utf-8")
    return 0


def licence_page() -> str:
    """Of what a user has without extras, and what comes with ``remote``; versions are in the lock, not here."""
    base = installed_tree(())
    remote = [name for name in installed_tree(("remote",), needed=False) if name not in base]
    lines = [
        "# Licences",
        "",
        "coder-lsp is under the Apache License 2.0. What it is installed with, by its own metadata; made by",
        "`scripts/supply_chain.py licences`. `tests/unit/test_supply_chain.py` holds the first table against a",
        "list of licences that are fine.",
        "",
        "## Installed with coder-lsp",
        "",
        *_rows(base),
        "",
    ]
    if remote:
        lines += ["## With the extra `remote`", "", *_rows(remote), ""]
    lines += [_INSIDE.rstrip(), "", "## Models", "", "Pulled by you, from where their makers put them.", ""]
    lines += ["| model | licence |", "|---|---|", *_model_rows(), ""]
    return "\n".join(lines)


def _rows(names: Iterable[str]) -> list[str]:
    rows = [f"| {name} | {licence_of(name)} |" for name in sorted(names)]
    return ["| package | licence |", "|---|---|", *rows]


def _model_rows() -> list[str]:
    from coder_lsp.models import catalog

    return [f"| {entry.name} | {entry.licence} |" for entry in catalog.load().entries]


def licence_of(name: str) -> str:
    """An SPDX expression out of the metadata of an installed package; empty if it says nothing that is understood."""
    metadata = importlib.metadata.metadata(name)
    stated = metadata.get("License-Expression")
    if stated:
        return str(stated)
    classified = sorted({_CLASSIFIERS[each] for each in metadata.get_all("Classifier", []) if each in _CLASSIFIERS})
    if classified:
        return " AND ".join(classified)
    said = (metadata.get("License") or "").strip()
    if is_allowed(said):
        return said
    first = said.splitlines()[0].strip().lower().rstrip(".") if said else ""
    return _SAID.get(first, "")


def is_allowed(expression: str) -> bool:
    """Whether all of an AND, and one of an OR, is on the list. No parentheses: none of ours has any.

    >>> is_allowed("MIT AND MPL-2.0"), is_allowed("GPL-3.0-only OR MIT"), is_allowed("GPL-2.0-only AND MIT")
    (True, True, False)
    """
    if not expression:
        return False
    return all(
        any(one.strip("() ") in ALLOWED for one in re.split(r" OR ", every)) for every in expression.split(" AND ")
    )


def installed_tree(extras: tuple[str, ...], *, needed: bool = True) -> list[str]:
    """coder-lsp's dependencies in this environment, and theirs, by name; an absent one is an error if ``needed``."""
    found: dict[str, None] = {}
    waiting = [("coder-lsp", extras)]
    while waiting:
        name, with_extras = waiting.pop()
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            wanted = any(
                requirement.marker is None or requirement.marker.evaluate({"extra": extra})
                for extra in ("", *with_extras)
            )
            key = canonicalize_name(requirement.name)
            if not wanted or key in found:
                continue
            try:
                importlib.metadata.version(key)
            except importlib.metadata.PackageNotFoundError:
                if needed:
                    raise
                continue
            found[key] = None
            waiting.append((key, tuple(requirement.extras)))
    return sorted(found)


# -- the bill of materials


def sbom(options: argparse.Namespace) -> int:
    text = json.dumps(bill_of_materials(read_lock(LOCKS / f"{options.set}.txt"), options.set), indent=2) + "\n"
    if options.output:
        Path(options.output).write_text(text, "utf-8")
    else:
        print(text, end="")
    return 0


def bill_of_materials(entries: list[Locked], name: str) -> dict[str, Any]:
    """CycloneDX 1.6. The same lock gives the same bytes: no time and no random number is in it."""
    version = re.search(r'__version__ = "([^"]+)"', (ROOT / "coder_lsp" / "__init__.py").read_text("utf-8"))
    assert version
    digest = hashlib.sha256("".join(f"{entry}" for entry in entries).encode()).hexdigest()
    serial = f"{digest[:8]}-{digest[8:12]}-5{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}"
    us = {
        "type": "application",
        "bom-ref": f"pkg:pypi/coder-lsp@{version[1]}",
        "name": "coder-lsp",
        "version": version[1],
        "purl": f"pkg:pypi/coder-lsp@{version[1]}",
        "licenses": [{"license": {"id": "Apache-2.0"}}],
    }
    components = [_component(entry) for entry in sorted(entries, key=lambda each: (each.name, Version(each.version)))]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        "metadata": {"component": us, "properties": [{"name": "coder-lsp:lock", "value": f"requirements/{name}.txt"}]},
        "components": components,
        "dependencies": [{"ref": us["bom-ref"], "dependsOn": [each["bom-ref"] for each in components]}],
    }


def _component(entry: Locked) -> dict[str, Any]:
    purl = f"pkg:pypi/{entry.name}@{entry.version}"
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl,
        "name": entry.name,
        "version": entry.version,
        "purl": purl,
        # Each file of the version; which one is installed depends on the machine.
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"urn:sha256:{digest}",
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for digest in entry.hashes
        ],
    }
    try:
        licence = licence_of(entry.name)
    except importlib.metadata.PackageNotFoundError:
        licence = ""
    if licence:
        component["licenses"] = [{"expression": licence}]
    if entry.marker:
        component["properties"] = [{"name": "coder-lsp:marker", "value": entry.marker}]
    return component


# -- known weaknesses


def audit(options: argparse.Namespace) -> int:
    path = LOCKS / f"{options.set}.txt"
    if options.database:
        return _audit_offline(read_lock(path), Path(options.database))
    command = [tool("pip-audit"), "--disable-pip", "--require-hashes", "--progress-spinner=off", "--format=json"]
    done = subprocess.run([*command, "-r", str(path)], check=False, capture_output=True, text=True)
    try:
        rows = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        print(done.stderr[-2000:], file=sys.stderr)
        return _unknown(f"pip-audit ended with status {done.returncode}")
    weak = [(row, each) for row in rows for each in row.get("vulns", ())]
    for row, each in weak:
        fixed = ", ".join(each["fix_versions"]) or "no version"
        print(f"{row['name']} {row['version']}: {each['id']}: fixed in {fixed}")
    # It says "no known vulnerabilities", and ends with 0, where nobody could tell it of any.
    skipped = [row for row in rows if "skip_reason" in row]
    print(f"{len(rows) - len(skipped)} locked versions asked about: {len(weak) or 'no'} known weaknesses")
    if weak:
        return 1
    return _unknown(f"the index knows nothing of {len(skipped)} of {len(rows)} versions") if skipped or not rows else 0


def _unknown(why: str) -> int:
    print(f"not known: {why}", file=sys.stderr)
    print("  ask a file of advisories instead: --database FILE (https://osv.dev has them)", file=sys.stderr)
    return UNREACHABLE


def _audit_offline(entries: list[Locked], database: Path) -> int:
    try:
        advisories = list(read_advisories(database))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        print(f"error: {database} cannot be read as advisories: {error}", file=sys.stderr)
        return 2
    found = 0
    for entry in entries:
        for advisory in advisories:
            if concerns(advisory, entry):
                found += 1
                summary = advisory.get("summary") or "no summary"
                print(f"{entry.name} {entry.version}: {advisory['id']}: {summary}")
    print(f"{len(entries)} locked versions against {len(advisories):,} advisories: {found or 'no'} known weaknesses")
    return 1 if found else 0


def read_advisories(path: Path) -> Iterator[dict[str, Any]]:
    """Of a file of OSV's format: ``all.zip`` of an ecosystem, one advisory, a list of them, or one a line."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                if name.endswith(".json"):
                    yield from _advisories(json.loads(archive.read(name)))
        return
    text = path.read_text(encoding="utf-8")
    lines = [text] if path.suffix == ".json" else text.splitlines()
    for line in lines:
        if line.strip():
            yield from _advisories(json.loads(line))


def _advisories(table: Any) -> Iterator[dict[str, Any]]:
    for row in table if isinstance(table, list) else [table]:
        if not isinstance(row, dict) or not isinstance(row.get("id"), str):
            raise ValueError("not in OSV's format: https://ossf.github.io/osv-schema")  # noqa: TRY004
        if not row.get("withdrawn"):
            yield row


def concerns(advisory: dict[str, Any], entry: Locked) -> bool:
    """As https://ossf.github.io/osv-schema/#evaluation says, for packages of PyPI."""
    version = Version(entry.version)
    for affected in advisory.get("affected", []):
        package = affected.get("package", {})
        if package.get("ecosystem") != "PyPI" or canonicalize_name(package.get("name", "")) != entry.name:
            continue
        if any(_version(each) == version for each in affected.get("versions", [])):
            return True
        if any(
            _within(version, each.get("events", []))
            for each in affected.get("ranges", [])
            if each.get("type") == "ECOSYSTEM"
        ):
            return True
    return False


def _within(version: Version, events: list[dict[str, str]]) -> bool:
    inside = False
    order = [(_version(value), kind) for event in events for kind, value in event.items()]
    for at, kind in sorted((at, kind) for at, kind in order if at is not None):
        if kind == "introduced" and version >= at:
            inside = True
        if (kind == "fixed" and version >= at) or (kind == "last_affected" and version > at):
            inside = False
    return inside


def _version(text: str) -> Version | None:
    """None for the versions that PyPI had before they had rules; none of ours is one."""
    try:
        return Version(text)
    except ValueError:
        return None


# -- the wheel


def wheel(options: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as folder:
        made = [build_wheel(Path(folder, name)) for name in ("one", "another place")]
        digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in made]
        if digests[0] != digests[1]:
            print("the two wheels differ:", *differences(*made), sep="\n  ", file=sys.stderr)
            return 1
        print(f"{made[0].name} sha256:{digests[0]} twice")
        if options.output:
            shutil.copy2(made[0], options.output)
    return 0


def build_wheel(folder: Path) -> Path:
    """The wheel of what git has, from a copy in ``folder``. Times are those of the last commit."""
    tree, out = folder / "tree", folder / "out"
    tree.mkdir(parents=True)
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name)
    epoch = os.environ.get("SOURCE_DATE_EPOCH") or run(["git", "log", "-1", "--format=%ct"]).strip()
    # In each place as if it were the only one: no cache of compilers, no locale, one order of files.
    surroundings = {
        **os.environ,
        "SOURCE_DATE_EPOCH": epoch,
        "CCACHE_DISABLE": "1",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "0",
    }
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "-q",
        "-w",
        str(out),
        str(tree),
    ]
    subprocess.run(command, check=True, env=surroundings)
    (made,) = out.glob("*.whl")
    return made


def differences(one: Path, other: Path) -> list[str]:
    """Names of the members of two archives that are not the same, or are in another place or of another time."""
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(other) as second:
        ours, theirs = ({info.filename: info for info in archive.infolist()} for archive in (first, second))
        found = [f"only in one: {name}" for name in sorted(ours.keys() ^ theirs.keys())]
        for name in sorted(ours.keys() & theirs.keys()):
            if first.read(name) != second.read(name):
                found.append(f"content: {name}")
            elif (ours[name].date_time, ours[name].external_attr) != (
                theirs[name].date_time,
                theirs[name].external_attr,
            ):
                found.append(f"time or mode: {name}")
        if not found and list(ours) != list(theirs):
            found.append("order")
    return found


# -- how


def tool(name: str) -> str:
    """The path of a program that is no part of coder-lsp."""
    found = shutil.which(name)
    if found:
        return found
    home = ROOT / "build" / "tools"
    program = home / "bin" / name
    if not program.exists():
        venv.create(home, with_pip=True)
        run([str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", name])
    return str(program)


def run(command: list[str]) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    if done.returncode:
        sys.exit(f"error: {Path(command[0]).name} failed\n{done.stderr[-2000:]}")
    return done.stdout


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verbs.add_parser("lock").set_defaults(run=lock)
    of_licences = verbs.add_parser("licences")
    of_licences.add_argument("--check", action="store_true", help="fail where the page is not up to date")
    of_licences.set_defaults(run=licences)
    of_sbom = verbs.add_parser("sbom")
    of_sbom.add_argument("--set", choices=SETS, default="base")
    of_sbom.add_argument("--output", metavar="FILE")
    of_sbom.set_defaults(run=sbom)
    of_audit = verbs.add_parser("audit")
    of_audit.add_argument("--set", choices=SETS, default="dev")
    of_audit.add_argument("--database", metavar="FILE", help="advisories in OSV's format, and no network")
    of_audit.set_defaults(run=audit)
    of_wheel = verbs.add_parser("wheel")
    of_wheel.add_argument("--output", metavar="FOLDER", help="keep the wheel there")
    of_wheel.set_defaults(run=wheel)
    options = parser.parse_args()
    return int(options.run(options))


if __name__ == "__main__":
    sys.exit(main())
