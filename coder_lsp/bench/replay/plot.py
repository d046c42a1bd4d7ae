"""The same as pictures: how long suggestions took to be shown, and what was saved. Needs matplotlib."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from coder_lsp.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path


def require() -> None:
    """Before an hour is spent on measuring.

    :raises InputError: matplotlib is not installed.
    """
    _pyplot()


def draw(measured: dict[str, Any], file: Path) -> None:
    """One row a section: cumulative shares of suggestions by time, and shares of characters saved.

    :raises InputError: matplotlib is not installed, or cannot write such a file.
    """
    pyplot = _pyplot()
    sections = measured["sections"]
    figure, grid = pyplot.subplots(len(sections), 2, figsize=(11, 3.6 * len(sections)), squeeze=False)
    for (times, saved), section in zip(grid, sections, strict=True):
        for name, waited in section["samples"].items():
            if waited["shown_ms"]:
                ordered = sorted(max(1.0, ms) for ms in waited["shown_ms"])
                shares = [(number + 1) / len(ordered) for number in range(len(ordered))]
                times.step(ordered, shares, where="post", label=f"{name} ({len(ordered)})")
        times.set_xscale("log")
        times.set_xlabel("ms from the keystroke to the suggestion on screen")
        times.set_ylabel("share of suggestions")
        times.set_title(f"{section['project']}, patience {section['patience_s']:g} s", fontsize="medium")
        times.grid(visible=True, alpha=0.3)
        if times.get_legend_handles_labels()[0]:
            times.legend(fontsize="small")
        names = list(section["subjects"])
        shares = [100 * (section["subjects"][name]["characters"]["share"] or 0.0) for name in names]
        saved.barh(names, shares)
        saved.invert_yaxis()
        saved.set_xlabel("% of characters saved by accepting")
        saved.grid(visible=True, axis="x", alpha=0.3)
    figure.suptitle(measured["hardware"], fontsize="x-small")
    figure.tight_layout()
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot write the plot {file}: {error}") from error
    finally:
        pyplot.close(figure)


def _pyplot() -> Any:
    try:
        # By name: the type checker must not need it either.
        importlib.import_module("matplotlib").use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError as error:
        raise InputError("a plot needs matplotlib", hint='pip install "coder-lsp[eval]"') from error
