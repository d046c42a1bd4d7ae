"""Settings: what they are, where they come from, who may set what.

Order: defaults < the user's TOML file < editor settings < workspace file, where the workspace file may only narrow
(disable, exclude, languages) and never name a URL, a command or a model path: a cloned repository is not trusted.
Loading collects every fault, reports them at once, and goes on with the defaults of the faulty keys.
"""

from __future__ import annotations

from dataclasses import dataclass, field

DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct"


@dataclass(frozen=True)
class CompletionConfig:
    """What is suggested, and how long it may take."""

    enabled: bool = True
    disabled_languages: tuple[str, ...] = ()
    """LSP language ids that get no suggestions."""
    exclude: tuple[str, ...] = ()
    """gitignore-style patterns; matching files get no suggestions."""
    multiline: bool = True
    max_tokens_line: int = 48
    max_tokens_block: int = 128
    automatic_deadline_ms: int = 2500
    """Decoding time of a suggestion nobody asked for; looked at where a line ends."""
    invoked_deadline_ms: int = 8000


@dataclass(frozen=True)
class PromptConfig:
    """Token budgets of one prompt."""

    prefix_tokens: int = 768
    suffix_tokens: int = 192
    context_tokens: int = 512
    anchor_lines: int = 3
    """Lines above the cursor's line where the FIM prefix ends."""


@dataclass(frozen=True)
class EngineConfig:
    """How the model is loaded. Zero: by the machine."""

    context_tokens: int = 4096
    sequences: int = 2
    threads: int = 0
    kv_type: str = "f16"
    loras: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostConfig:
    """Life of the model host process."""

    idle_seconds: float = 1800.0
    """Ends after this long without any request."""
    orphan_seconds: float = 60.0
    """Ends after this long without any client."""


@dataclass(frozen=True)
class Config:
    """All settings. Immutable: a change makes a new one."""

    model: str = DEFAULT_MODEL
    """Catalogue name, name of an added model, or path of a GGUF file."""
    offline: bool = False
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    host: HostConfig = field(default_factory=HostConfig)
