"""Loads the settings of ``config``: five sources, one result, every fault at once.

Driven by the dataclasses themselves: a new field is loaded, checked and documented without a change here. A faulty key
keeps the value it had before that source, so the front always starts. The workspace file comes with a repository that
somebody else wrote and may only narrow; what else it says is a fault and ignored.
"""

from __future__ import annotations

import difflib
import importlib
import os
import re
import stat
import sys
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from coder_lsp import paths
from coder_lsp.config import Config
from coder_lsp.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

tomllib: Any = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")

WORKSPACE_FILE = ".coder-lsp.toml"
MAX_FILE_BYTES = 1_000_000
_LARGEST = 2.0**63
_ENVIRONMENT = {"CODER_LSP_OFFLINE": "offline", "CODER_LSP_MODEL": "model", "CODER_LSP_REMOTE_URL": "remote.url"}
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_TABLE = tuple[tuple[str, str], ...]
"""A table with keys of the user's own, as pairs in order."""
_SECTION_NAMES = ("coder-lsp", "coderLsp", "coder_lsp")


@dataclass(frozen=True)
class Loaded:
    """Settings that can be used, and what was wrong with those that were given."""

    config: Config
    faults: tuple[ConfigError, ...] = ()


def load(
    config_file: Path | None = None,
    environment: Mapping[str, str] | None = None,
    editor: Mapping[str, Any] | None = None,
    workspace_roots: Sequence[Path] = (),
) -> Loaded:
    """Defaults < user file < environment < editor < the workspace file of each root. Never raises.

    ``config_file`` None: the user's, and it need not exist. ``environment`` None: the process's. ``editor``: the
    section ``coder-lsp`` of the client's settings, keys in camelCase or snake_case, nested or with dots, null for
    unset. What a workspace file narrows is narrowed for all roots.
    """
    faults: list[ConfigError] = []
    values: dict[str, Any] = {}
    file = paths.config_file() if config_file is None else config_file
    default_file = config_file is None or config_file == paths.config_file()
    _apply(values, _read(file, faults, may_be_absent=default_file), str(file), faults)
    _apply_environment(values, os.environ if environment is None else environment, faults)
    _apply(values, _unwrap(editor or {}), "editor settings", faults, own=False)
    for root in workspace_roots:
        file = root / WORKSPACE_FILE
        _narrow(values, _read(file, faults, may_be_absent=True), str(file), faults)
    return Loaded(_build(Config, values, ""), tuple(faults))


def config_rows() -> list[tuple[str, str, str, str]]:
    """(key, type, default, meaning) of every setting, in order."""
    return [
        (key, _type_name(kind), "{}" if kind == _TABLE else _toml(_default(entry)), _meaning(entry))
        for key, entry, kind in _settings(Config)
    ]


def config_reference() -> str:
    """The settings as a Markdown page."""
    lines = [
        "# Settings",
        "",
        "Later sources win:",
        "",
        "1. the defaults below;",
        f"2. the user's file, `{paths.APP}/config.toml` in the platform's place (`coder-lsp doctor` shows where);",
        "3. the environment: `CODER_LSP_OFFLINE=1`, `CODER_LSP_MODEL=name`, `CODER_LSP_REMOTE_URL=address`;",
        "4. the editor's settings, section `coder-lsp`, in camelCase or snake_case; nothing under `remote`, since",
        "   editors pass on what a workspace's own settings say;",
        f"5. `{WORKSPACE_FILE}` in a workspace folder. It may only narrow: switch off, exclude, forbid the network. A",
        "   cloned repository is not trusted with more.",
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    lines += [f"| `{key}` | {kind} | `{default}` | {doc} |" for key, kind, default, doc in config_rows()]
    return "\n".join(lines) + "\n"


def _settings(owner: type, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Every setting: dotted key, field, type."""
    hints = get_type_hints(owner)
    for entry in fields(owner):
        kind = hints[entry.name]
        if is_dataclass(kind):
            assert isinstance(kind, type)
            yield from _settings(kind, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", entry, kind


def _apply(
    values: dict[str, Any], given: Mapping[str, Any], source: str, faults: list[ConfigError], *, own: bool = True
) -> None:
    """``own``: the source is the user's alone."""
    known = {key: (entry, kind) for key, entry, kind in _settings(Config)}
    for key, value in _flatten(given, known, source, faults):
        entry, kind = known[key]
        if entry.metadata.get("own") and not own:
            hint = f"Set it in {paths.config_file()}: a workspace can change what the editor says. Ignored here."
            faults.append(_fault(source, key, "only the user's own file may set this", hint))
            continue
        try:
            checked = _check(value, kind, entry)
        except ValueError as error:
            faults.append(_fault(source, key, str(error), _meaning(entry)))
            continue
        if key == "offline" and values.get(key) and not checked:
            continue  # a prohibition is not taken back by a source that merely wins
        values[key] = checked


def _apply_environment(values: dict[str, Any], environment: Mapping[str, str], faults: list[ConfigError]) -> None:
    for name, key in _ENVIRONMENT.items():
        text = environment.get(name)
        if text is None:
            continue
        if key == "offline":
            lowered = text.strip().lower()
            if lowered not in _TRUE + _FALSE:
                # Whoever sets it means something, and being wrong about the network is worse than being offline.
                faults.append(_fault("environment", name, f"{text!r} is neither 1 nor 0", "Taken as 1: offline."))
            _apply(values, {key: lowered not in _FALSE}, "environment", faults)
        elif text.strip():
            _apply(values, {key: text.strip()}, "environment", faults)


def _narrow(values: dict[str, Any], given: Mapping[str, Any], source: str, faults: list[ConfigError]) -> None:
    known = {key: (entry, kind) for key, entry, kind in _settings(Config)}
    allowed = ", ".join(key for key, (entry, _) in known.items() if "narrows" in entry.metadata)
    for key, value in _flatten(given, known, source, faults):
        entry, kind = known[key]
        narrows = entry.metadata.get("narrows")
        if narrows is None:
            faults.append(
                _fault(source, key, "a workspace file may not set this", f"It may set {allowed}; ignored here.")
            )
            continue
        try:
            checked = _check(value, kind, entry)
        except ValueError as error:
            faults.append(_fault(source, key, str(error), _meaning(entry)))
            continue
        if narrows == "adds":
            widening = [item for item in checked if item.startswith("!")]
            if widening:  # a gitignore exception would let in what the user excludes
                hint = "A workspace file can only add to what is excluded; ignored."
                faults.append(_fault(source, key, f"{_toml(tuple(widening))} excepts from exclusion", hint))
                checked = tuple(item for item in checked if item not in widening)
            old = values.get(key, _default(entry))
            values[key] = old + tuple(item for item in checked if item not in old)
        elif checked == narrows["to"]:
            values[key] = checked
        elif values.get(key, _default(entry)) != checked:
            hint = "A workspace file can switch off, never on; ignored."
            faults.append(_fault(source, key, f"{_toml(checked)} would undo what the user set", hint))


def _read(file: Path, faults: list[ConfigError], *, may_be_absent: bool) -> Mapping[str, Any]:
    try:
        if may_be_absent and not file.exists():
            return {}
        if not stat.S_ISREG(file.stat().st_mode):
            # A repository may bring a link to a device that never ends, or to one that never begins.
            faults.append(ConfigError(f"{file}: not a file", hint="Not read; write the settings into a file."))
            return {}
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            faults.append(
                ConfigError(f"{file}: larger than {MAX_FILE_BYTES} bytes", hint="Not read; is it a TOML file?")
            )
            return {}
        text = content.decode("utf-8")
        settings: Mapping[str, Any] = tomllib.loads(text)
        return settings
    except tomllib.TOMLDecodeError as error:
        # Its message ends with "(at line 3, column 5)".
        faults.append(
            ConfigError(f"{file}: not TOML: {error}", hint="None of its settings is used until it is mended.")
        )
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        faults.append(ConfigError(f"{file}: not UTF-8 at line {line}", hint="Save the file as UTF-8."))
    except (OSError, RecursionError, ValueError) as error:
        faults.append(ConfigError(f"{file}: cannot be read: {error}", hint="Its settings are not used."))
    return {}


def _unwrap(editor: Mapping[str, Any]) -> Mapping[str, Any]:
    """The section itself, where a client sends it with its name around it."""
    if len(editor) == 1:
        name, inner = next(iter(editor.items()))
        if name in _SECTION_NAMES and isinstance(inner, dict):
            return inner
    return editor


def _flatten(
    given: Mapping[str, Any], known: Mapping[str, Any], source: str, faults: list[ConfigError], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
    """Dotted keys we know, with the values given for them; a fault for every other key."""
    sections = {key.rpartition(".")[0] for key in known} - {""}
    for name, value in given.items():
        written = f"{prefix}{name}"
        key = _snake(written)
        if value is None:
            continue
        if key in known:
            yield key, value
        elif key in sections and isinstance(value, dict):
            yield from _flatten(value, known, source, faults, f"{written}.")
        elif key in sections:
            faults.append(
                _fault(source, written, f"is a section, not {_name_of(value)}", f"Write [{key}] and its keys.")
            )
        else:
            near = difflib.get_close_matches(key, [*known, *sections], n=1, cutoff=0.6)
            if not near:  # perhaps it is right but stands in another section
                near = [candidate for candidate in known if candidate.rpartition(".")[2] == key.rpartition(".")[2]][:1]
            hint = f"Did you mean {near[0]}?" if near else "Remove it; docs/configuration.md lists all settings."
            faults.append(_fault(source, written, "no such setting", hint))


def _check(value: Any, kind: Any, entry: Field[Any]) -> Any:
    """``value`` as the field's type, within its limits.

    :raises ValueError: it is not; the message says what is wrong.
    """
    metadata = entry.metadata
    checked = _as_type(value, kind)
    if "least" in metadata and checked < metadata["least"]:
        raise ValueError(f"{value} is less than {metadata['least']}")
    if "most" in metadata and checked > metadata["most"]:
        raise ValueError(f"{value} is more than {metadata['most']}")
    if "choices" in metadata and checked not in metadata["choices"]:
        near = difflib.get_close_matches(str(checked), metadata["choices"], n=1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise ValueError(f"{_toml(checked)} is none of {', '.join(metadata['choices'])}{suggestion}")
    if metadata.get("filled") and not checked.strip():
        raise ValueError("is empty")
    return checked


def _as_type(value: Any, kind: Any) -> Any:
    if kind is bool and isinstance(value, bool):
        return value
    # An integer of JSON or TOML may have more digits than a float can hold, and no limit of ours is that far out.
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and -_LARGEST < value < _LARGEST
    # JSON has one kind of number: 48.0 is as good as 48.
    if kind is int and number and int(value) == value:
        return int(value)
    if kind is float and number:
        return float(value)
    if kind is str and isinstance(value, str):
        return value
    if kind == _TABLE and isinstance(value, dict):
        return tuple(sorted((_as_type(key, str), _as_type(item, str)) for key, item in value.items()))
    if get_origin(kind) is tuple and kind != _TABLE and isinstance(value, (list, tuple)):
        inner = get_args(kind)[0]
        return tuple(_as_type(item, inner) for item in value)
    raise ValueError(f"{_name_of(value)} given, {_type_name(kind)} expected")


def _build(owner: type, values: Mapping[str, Any], prefix: str) -> Any:
    """An ``owner`` with the defaults for every key that ``values`` lacks."""
    hints = get_type_hints(owner)
    given: dict[str, Any] = {}
    for entry in fields(owner):
        key = f"{prefix}{entry.name}"
        if is_dataclass(hints[entry.name]):
            given[entry.name] = _build(hints[entry.name], values, f"{key}.")
        elif key in values:
            given[entry.name] = values[key]
    return replace(owner(), **given)


def _default(entry: Field[Any]) -> Any:
    assert entry.default is not MISSING
    return entry.default


def _meaning(entry: Field[Any]) -> str:
    """The field's documentation with its limits."""
    metadata = entry.metadata
    doc = str(metadata["doc"])
    if "choices" in metadata:
        return f"{doc} One of {', '.join(metadata['choices'])}."
    if "least" in metadata and "most" in metadata:
        return f"{doc} From {metadata['least']} to {metadata['most']}."
    return f"{doc} At least {metadata['least']}." if "least" in metadata else doc


def _fault(source: str, key: str, message: str, hint: str) -> ConfigError:
    return ConfigError(f"{source}: {key}: {message}", hint=hint)


def _snake(key: str) -> str:
    return re.sub(r"(?<=[a-z0-9])([A-Z])", r"_\1", key).replace("-", "_").lower()


def _type_name(kind: Any) -> str:
    if kind == _TABLE:
        return "table of strings"
    if get_origin(kind) is tuple:
        return f"list of {_type_name(get_args(kind)[0])}s"
    return {bool: "boolean", int: "integer", float: "number", str: "string"}[kind]


def _name_of(value: Any) -> str:
    for kind, name in ((bool, "a boolean"), (int, "an integer"), (float, "a number"), (str, "a string")):
        if isinstance(value, kind):
            return name
    return "a list" if isinstance(value, (list, tuple)) else "a table" if isinstance(value, dict) else str(type(value))


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(item) for item in value)}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
