"""Settings that are none: bytes, TOML and JSON of any shape from the user, the environment, the editor, a repository.

Loading never raises, what is wrong is said, what is left can be used, and neither editor nor repository gets further
than they may.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

import tomlkit
from fuzz.engine import Check, target
from fuzz.lsp import json_values
from fuzz.mutations import changed, changes
from hypothesis import strategies as st

from coder_lsp import configuration
from coder_lsp.config import Config
from coder_lsp.configuration import WORKSPACE_FILE, Loaded, load
from coder_lsp.errors import ConfigError

KNOWN = {key: (entry, kind) for key, entry, kind in configuration._settings(Config)}
DEFAULTS = {key: configuration._default(entry) for key, (entry, _) in KNOWN.items()}

odd = (
    json_values
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 1e308, "true", "1", "", " ", "\n", "!x", "[", "a" * 5000, "http://[::1"])
)
lists = st.lists(st.sampled_from(["python", "*.py", "!*.py", "", "[", "**", "/", "\x00", "a b"]) | odd, max_size=3)
tables = st.dictionaries(st.text(max_size=5) | st.sampled_from(["/", "~"]), odd | st.text(max_size=5), max_size=3)
values = odd | st.sampled_from(list(DEFAULTS.values())).map(lambda v: list(v) if isinstance(v, tuple) else v) | lists
settings = st.dictionaries(
    st.sampled_from(sorted(KNOWN))
    | st.sampled_from(sorted({key.split(".")[0] for key in KNOWN}))
    | st.text(max_size=6),
    values | tables,
    max_size=6,
)


def nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Sections as tables within tables."""
    found: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        inner = found
        for section in sections:
            if not isinstance(inner.setdefault(section, {}), dict):
                break
            inner = inner[section]
        else:
            inner[last] = value
    return found


def camel(flat: Mapping[str, Any]) -> dict[str, Any]:
    """As VS Code spells them."""
    words = {key: key.split("_") for key in flat}
    return {first + "".join(w[:1].upper() + w[1:] for w in more): flat[key] for key, (first, *more) in words.items()}


editors = settings | settings.map(nested) | settings.map(camel) | settings.map(lambda one: {"coder-lsp": nested(one)})
files = (
    st.tuples(st.just("table"), settings.map(nested))
    | st.tuples(st.just("mended"), changes(most=4, within=8000))
    | st.tuples(st.just("bytes"), st.binary(max_size=40) | st.sampled_from([b"\xef\xbb\xbfmodel='x'", b"[" * 9000]))
    | st.sampled_from([("absent",), ("folder",), ("large",), ("link",)])
)
variables = ("CODER_LSP_OFFLINE", "CODER_LSP_MODEL", "CODER_LSP_REMOTE_URL", "CODER_LSP_X")
environments = st.dictionaries(st.sampled_from(variables), st.text(max_size=8) | st.sampled_from(["1", "0", "No"]))


def plain(value: Any) -> Any:
    """Without what TOML cannot say."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value if item is not None]
    return value


def base() -> bytes:
    """Every setting with its default."""
    return tomlkit.dumps(
        plain(nested({key: list(v) if isinstance(v, tuple) else v for key, v in DEFAULTS.items()}))
    ).encode()


def place(file: Path, kind: str, *given: Any) -> None:
    if file.is_symlink() or file.is_file():
        file.unlink()
    elif file.is_dir():
        shutil.rmtree(file)
    if kind == "table":
        try:
            text = tomlkit.dumps(plain(given[0]))
        except Exception:  # noqa: BLE001  (of tomlkit: what it cannot write is no input)
            text = ""
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
    elif kind == "mended":
        file.write_bytes(changed(base(), *given))
    elif kind == "bytes":
        file.write_bytes(*given)
    elif kind == "folder":
        file.mkdir()
    elif kind == "large":
        file.write_bytes(b"#" * (configuration.MAX_FILE_BYTES + 1))
    elif kind == "link":
        file.symlink_to("/dev/zero")


def flat_of(config: Any, prefix: str = "") -> dict[str, Any]:
    found = {}
    for key in KNOWN:
        value = config
        for part in key.split("."):
            value = getattr(value, part)
        found[f"{prefix}{key}"] = value
    return found


def fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is tuple:
        inner = get_args(kind)[0]
        return isinstance(value, tuple) and all(fits(item, inner) for item in value)
    if kind == tuple[str, str] or not isinstance(kind, type):
        return isinstance(value, tuple)
    return type(value) is kind


def usable(loaded: Loaded) -> dict[str, Any]:
    """Each value is of its type and within its limits; each fault is one of ours with something to read."""
    found = flat_of(loaded.config)
    for key, value in found.items():
        entry, kind = KNOWN[key]
        assert fits(value, kind), (key, value)
        metadata = entry.metadata
        assert "least" not in metadata or value >= metadata["least"], (key, value)
        assert "most" not in metadata or value <= metadata["most"], (key, value)
        assert "choices" not in metadata or value in metadata["choices"], (key, value)
    for fault in loaded.faults:
        assert isinstance(fault, ConfigError)
        assert fault.message
        assert fault.hint
    return found


@target("settings", st.tuples(files, environments, editors, files), share=100)
def settings_files(folder: Path) -> Iterator[Check]:
    user, root = folder / "config.toml", folder / "workspace"
    root.mkdir()

    def check(given: tuple[Any, ...]) -> None:
        own, environment, editor, theirs = given
        place(user, *own)
        place(root / WORKSPACE_FILE, *theirs)
        usable(load(user, environment, editor, [root]))

        alone = load(user, environment, {}, [])
        mine = usable(alone)
        said = usable(load(user, environment, editor, []))
        for key, (entry, _) in KNOWN.items():
            assert not entry.metadata.get("own") or said[key] == mine[key], (key, said[key])
        assert said["offline"] or not mine["offline"]

        narrowed = usable(load(user, environment, {}, [root]))
        for key, (entry, _) in KNOWN.items():
            narrows = entry.metadata.get("narrows")
            if narrows == "adds":
                assert narrowed[key][: len(mine[key])] == mine[key]
                assert not any(item.startswith("!") for item in narrowed[key][len(mine[key]) :])
            else:
                allowed = (mine[key], narrows["to"]) if narrows else (mine[key],)
                assert narrowed[key] in allowed, (key, narrowed[key])

        # What is given to a setting is taken, or said not to be.
        if all(isinstance(name, str) and name in KNOWN for name in editor):
            only = load(user, {}, editor, [])
            found = usable(only)
            faults = len(only.faults) - len(load(user, {}, {}, []).faults)
            taken = sum(
                value is None or same(found[name], value) or (name == "offline" and value is False)
                for name, value in editor.items()
            )
            assert taken + faults >= len(editor), (editor, [str(fault) for fault in only.faults])

    yield check


def same(taken: Any, given: Any) -> bool:
    if isinstance(given, Mapping):
        return dict(taken) == dict(given) if isinstance(taken, tuple) else False
    return taken == (tuple(given) if isinstance(given, list) else given)
