"""Settings: what they are, their defaults, limits and meaning. ``configuration`` loads them.

Order: defaults < the user's TOML file < environment < editor settings < workspace file, where the workspace file may
only narrow (disable, exclude, languages, offline) and never name a URL, a command or a model path: a cloned
repository is not trusted. Loading collects every fault, reports them at once, and goes on with the defaults of the
faulty keys.

A field's metadata has ``doc`` and, where they apply, ``least``, ``most``, ``choices``, ``filled`` (not empty),
``narrows``: how a workspace file may change it (``to``: only to that value; ``adds``: only more entries), and ``own``:
only the user's file and environment may set it. Editors pass on what a workspace's own settings say, so a setting that
decides where code is sent is not taken from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import ip_address
from urllib.parse import urlsplit

DEFAULT_MODEL = "qwen2.5-coder-0.5b-instruct"


@dataclass(frozen=True)
class CompletionConfig:
    """What is suggested, and how long it may take."""

    enabled: bool = field(default=True, metadata={"doc": "Suggest at all.", "narrows": {"to": False}})
    disabled_languages: tuple[str, ...] = field(
        default=(), metadata={"doc": "LSP language ids that get no suggestions.", "narrows": "adds"}
    )
    exclude: tuple[str, ...] = field(
        default=(),
        metadata={"doc": "gitignore-style patterns; matching files get no suggestions.", "narrows": "adds"},
    )
    multiline: bool = field(
        default=True,
        metadata={"doc": "Suggest blocks where a block fits, else single lines only.", "narrows": {"to": False}},
    )
    max_tokens_line: int = field(
        default=48, metadata={"doc": "Longest single-line suggestion, in tokens.", "least": 1, "most": 1024}
    )
    max_tokens_block: int = field(
        default=128, metadata={"doc": "Longest block suggestion, in tokens.", "least": 1, "most": 4096}
    )
    automatic_deadline_ms: int = field(
        default=2500,
        metadata={
            "doc": "Decoding time of a suggestion nobody asked for, looked at where a line ends; 0 is no limit.",
            "least": 0,
            "most": 600_000,
        },
    )
    invoked_deadline_ms: int = field(
        default=8000,
        metadata={"doc": "The same for a suggestion that was asked for; 0 is no limit.", "least": 0, "most": 600_000},
    )
    early_ms: int = field(
        default=600,
        metadata={
            "doc": "Once a whole line is there, how long to wait for more before it is shown; what follows comes after "
            "it is accepted. 0 is no limit.",
            "least": 0,
            "most": 600_000,
        },
    )
    reuse: bool = field(
        default=True,
        metadata={"doc": "Serve from what was generated already while its text is typed, deleted or accepted."},
    )
    delay: str = field(
        default="adaptive",
        metadata={
            "doc": "Before asking the model: adaptive waits a little while keys come fast, none asks at each key.",
            "choices": ("adaptive", "none"),
        },
    )
    show_filter: str = field(
        default="auto",
        metadata={
            "doc": "Hold back suggestions that are likely to be ignored: auto by what you accepted so far (by a fixed "
            "rule until there is enough), rule by the fixed rule, off not at all.",
            "choices": ("auto", "rule", "off"),
        },
    )
    alternatives: int = field(
        default=3, metadata={"doc": "Different suggestions when asked for explicitly.", "least": 1, "most": 5}
    )


@dataclass(frozen=True)
class PromptConfig:
    """Token budgets of one prompt."""

    prefix_tokens: int = field(
        default=768, metadata={"doc": "Tokens of the file before the cursor.", "least": 16, "most": 65_536}
    )
    suffix_tokens: int = field(
        default=192, metadata={"doc": "Tokens of the file after the cursor.", "least": 0, "most": 65_536}
    )
    context_tokens: int = field(default=512, metadata={"doc": "Tokens of other files.", "least": 0, "most": 65_536})
    anchored: bool = field(
        default=True,
        metadata={"doc": "Split the prompt a few lines above the cursor, so that a key costs almost nothing."},
    )
    anchor_lines: int = field(
        default=3,
        metadata={
            "doc": "Lines above the cursor's line where the fixed part of the prompt ends; what follows is typed on.",
            "least": 0,
            "most": 64,
        },
    )

    ladder_tokens: int = field(
        default=192,
        metadata={
            "doc": "Tokens around the cursor for the first answer in a place that was not evaluated yet, while the "
            "full prompt is made ready behind it; 0: always wait for the full prompt.",
            "least": 0,
            "most": 65_536,
        },
    )


@dataclass(frozen=True)
class ContextConfig:
    """Which files of the workspace may be shown to the model while another one is edited."""

    enabled: bool = field(
        default=True, metadata={"doc": "Index the workspace and show its code to the model.", "narrows": {"to": False}}
    )
    exclude: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "gitignore-style patterns, on top of the ignore files; matching files are never indexed.",
            "narrows": "adds",
        },
    )
    max_files: int = field(
        default=50_000, metadata={"doc": "Files indexed of one folder, at most.", "least": 1, "most": 1_000_000}
    )
    watch: str = field(
        default="auto",
        metadata={
            "doc": "How changes on disk are noticed: auto is by events where the file system has them, poll by looking "
            "every two seconds (a network drive that is not known for one), off not at all.",
            "choices": ("auto", "poll", "off"),
        },
    )


@dataclass(frozen=True)
class EngineConfig:
    """How the model is loaded. Zero: by the machine."""

    kind: str = field(
        default="auto",
        metadata={
            "doc": "What runs the model: llama (GGUF, on the processor), torch (GGUF or a folder of safetensors, on a "
            "CUDA device), remote (the server of `remote.url`), auto by what is there.",
            "choices": ("auto", "llama", "torch", "remote"),
        },
    )
    device: str = field(
        default="auto",
        metadata={
            "doc": "Of torch: a device such as cuda:0 or cpu, auto is the CUDA device with the most free memory."
        },
    )
    precision: str = field(
        default="auto",
        metadata={
            "doc": "Of torch: the arithmetic; auto is bf16 where the device has it.",
            "choices": ("auto", "bf16", "fp16", "f32"),
        },
    )
    quantise: str = field(
        default="none",
        metadata={
            "doc": "Of torch: weights kept as whole numbers of 8 or 4 bits.",
            "choices": ("none", "int8", "int4"),
        },
    )
    context_tokens: int = field(
        default=4096,
        metadata={"doc": "KV cache of one sequence, in tokens; 0: by the model.", "least": 0, "most": 1_048_576},
    )
    sequences: int = field(
        default=3,
        metadata={
            "doc": "Places whose prompts stay evaluated: two are in use while one is typed in; 0: by the machine.",
            "least": 0,
            "most": 64,
        },
    )
    threads: int = field(
        default=0, metadata={"doc": "Threads for decoding; 0: physical cores.", "least": 0, "most": 1024}
    )
    kv_type: str = field(
        default="f16",
        metadata={"doc": "Element type of the KV cache: q8_0 halves its memory.", "choices": ("f16", "q8_0", "f32")},
    )
    loras: tuple[str, ...] = field(
        default=(),
        metadata={
            "doc": "LoRA adapters laid over the model: names of added ones or paths of GGUF files, each with a scale "
            "if other than 1, as in name@0.5."
        },
    )
    draft: bool = field(
        default=True,
        metadata={"doc": "Guess tokens from text that is there already and check several at once; same answers."},
    )


@dataclass(frozen=True)
class RemoteConfig:
    """A server that completes in place of this machine. Nothing is sent anywhere unless ``url`` is set here."""

    url: str = field(
        default="",
        metadata={
            "doc": "Address of a server that completes, such as https://models.example/v1; empty: none, nothing leaves "
            "this machine.",
            "own": True,
        },
    )
    protocol: str = field(
        default="auto",
        metadata={
            "doc": "What the server speaks: openai (completions of vLLM, SGLang, TGI, llama-cpp-python), llama.cpp "
            "(its own completions), infill (llama.cpp's, with the server's template), ollama; auto asks it.",
            "choices": ("auto", "openai", "llama.cpp", "infill", "ollama"),
            "own": True,
        },
    )
    model: str = field(
        default="", metadata={"doc": "The model's name on the server; empty: the first that it lists.", "own": True}
    )
    template: str = field(
        default="",
        metadata={
            "doc": "Fill-in-the-middle format of the model there; empty: by its name and vocabulary.",
            "own": True,
        },
    )
    ca_file: str = field(
        default="",
        metadata={"doc": "Certificates to trust besides the system's, as a PEM file.", "own": True},
    )
    connect_ms: int = field(
        default=250,
        metadata={"doc": "How long connecting may take.", "least": 10, "most": 60_000, "own": True},
    )
    patience_ms: int = field(
        default=250,
        metadata={
            "doc": "After so long without a first token the model on this machine writes the suggestion too, and what "
            "is there first is shown.",
            "least": 10,
            "most": 60_000,
            "own": True,
        },
    )
    timeout_ms: int = field(
        default=10_000,
        metadata={"doc": "Longest silence of the server within an answer.", "least": 100, "most": 600_000, "own": True},
    )
    retries: int = field(
        default=1,
        metadata={
            "doc": "How often a request that failed before any text came is sent again.",
            "least": 0,
            "most": 5,
            "own": True,
        },
    )
    concurrent: int = field(
        default=2,
        metadata={"doc": "Requests under way at once, at most.", "least": 1, "most": 64, "own": True},
    )
    per_minute: int = field(
        default=0,
        metadata={"doc": "Requests in a minute, at most; 0: any number.", "least": 0, "most": 100_000, "own": True},
    )
    fallback: bool = field(
        default=True,
        metadata={"doc": "Complete with the model on this machine while the server cannot.", "own": True},
    )

    @property
    def is_here(self) -> bool:
        """Whether the server is on this machine, so that asking it is no use of the network."""
        try:
            host = urlsplit(self.url).hostname or ""
            return host == "localhost" or ip_address(host).is_loopback
        except ValueError:
            return False


@dataclass(frozen=True)
class IdleConfig:
    """Work ahead, while nobody waits for an answer."""

    enabled: bool = field(
        default=True,
        metadata={"doc": "Make prompts and continuations ready before they are asked for.", "narrows": {"to": False}},
    )
    on_battery: bool = field(default=True, metadata={"doc": "Also while the computer runs on its battery."})
    saved_places: int = field(
        default=8,
        metadata={
            "doc": "Places whose evaluated prompts are kept on disk for the next session (some 20 MB each with the "
            "default model); 0 keeps none.",
            "least": 0,
            "most": 256,
        },
    )


@dataclass(frozen=True)
class StatsConfig:
    """What is remembered of suggestions: counts, lengths and times, never text. It stays on this machine."""

    enabled: bool = field(
        default=True,
        metadata={"doc": "Remember what became of suggestions, for `coder-lsp stats`.", "narrows": {"to": False}},
    )


@dataclass(frozen=True)
class HostConfig:
    """Life of the model host process."""

    idle_seconds: float = field(
        default=1800.0, metadata={"doc": "The host ends after this long without any request.", "least": 1.0}
    )
    orphan_seconds: float = field(
        default=60.0, metadata={"doc": "The host ends after this long without any client.", "least": 0.0}
    )


@dataclass(frozen=True)
class Config:
    """All settings. Immutable: a change makes a new one."""

    model: str = field(
        default=DEFAULT_MODEL,
        metadata={
            "doc": "Catalogue name, name of an added model, or path of a GGUF file or of a folder of safetensors.",
            "filled": True,
        },
    )
    offline: bool = field(
        default=False,
        metadata={
            "doc": "Never use the network, not even to pull a model. Once any source says so, none can take it back.",
            "narrows": {"to": True},
        },
    )
    adapters: tuple[tuple[str, str], ...] = field(
        default=(),
        metadata={
            "doc": "Folder = adapter, for files in that folder, in place of `engine.loras`; the longest folder counts, "
            "an empty name means none."
        },
    )
    completion: CompletionConfig = field(default_factory=CompletionConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    remote: RemoteConfig = field(default_factory=RemoteConfig)
    host: HostConfig = field(default_factory=HostConfig)
    idle: IdleConfig = field(default_factory=IdleConfig)
    stats: StatsConfig = field(default_factory=StatsConfig)
