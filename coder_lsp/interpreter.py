"""This interpreter, for a module of the package that runs in a process of its own."""

from __future__ import annotations

import sys

_RUN = "import sys; del sys.path[0], sys.argv[0]; import runpy; runpy.run_module(sys.argv[0], None, '__main__', True)"
"""What ``python -P -m`` does, for Python 3.10, which has no ``-P``."""


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line of ``python -m module``, but the current folder is none where modules are looked for.

    That folder is the workspace when an editor started us, and a ``json.py`` that lies there would run.
    """
    if sys.version_info >= (3, 11):
        return [sys.executable, "-P", "-m", module, *arguments]
    return [sys.executable, "-c", _RUN, module, *arguments]
