"""Runs programs that nobody has read, such as those that a model wrote, and says what it could not enforce.

A program gets a folder of its own, an empty environment and limits. It has no network, sees no file of the user, and
whatever it starts ends with it. How: ``inside`` and ``confine``; who watches: ``supervisor``; from outside: ``runner``.
"""

from coder_lsp.evaluate.sandbox.limits import Limits, Outcome
from coder_lsp.evaluate.sandbox.runner import require_permission, run, unenforced

__all__ = ["Limits", "Outcome", "require_permission", "run", "unenforced"]
