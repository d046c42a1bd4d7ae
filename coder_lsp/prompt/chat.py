"""Instructions as models were taught to read them, and the prompt of a question about a place in a file.

Two formats: ChatML (Qwen, SmolLM and others), where the vocabulary has its tokens, and DeepSeek-Coder's, which is plain
text and which others understand as well as they understand anything. Text is tokenised with special tokens off; control
tokens are looked up by their spelling.

What stays comes first: system line, other files, the file above the place. A second question about the same place
evaluates little more than itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from coder_lsp.errors import ContextOverflow
from coder_lsp.languages import by_id
from coder_lsp.prompt.tokens import TokenCache, first_lines, last_lines

if TYPE_CHECKING:
    from collections.abc import Sequence

    from coder_lsp.config import PromptConfig
    from coder_lsp.engine.base import Vocabulary
    from coder_lsp.types import AskRequest, Snippet

QWEN_SYSTEM = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
"""Qwen2.5's own template puts this where no other is given."""
DEEPSEEK_SYSTEM = (
    "You are an AI programming assistant, utilizing the DeepSeek Coder model, developed by DeepSeek Company, "
    "and you only answer questions related to computer science. For politically sensitive questions, "
    "security and privacy issues, and other non-computer science questions, you will refuse to answer."
)
"""DeepSeek-Coder's own, in its published script for fine-tuning. What it says of the model is wrong for others."""
OTHER_SYSTEM = "You are an AI programming assistant."

_START, _END, _END_OF_TURN = "<|im_start|>", "<|im_end|>", "<|EOT|>"
_SMALL_PARAMETERS = 1_000_000_000
"""A model of 0.5B that is shown the file around a selection writes the file anew instead of the selection (two of four
rewrites; shown the selection alone, none: docs/log.md), and needs four times as long."""
_SMALL_WINDOW_TOKENS, _SMALL_BLOCK = 320, 2
_AFTER_SHARE = 0.25
"""Of the tokens for the file itself: what stands below a place tells less than what stands above it."""
_WINDOW_SHARE = 2.0
"""More of the file is shown than for a completion: nobody waits for the first word as one does for ghost text."""


@dataclass(frozen=True)
class ChatFormat:
    """How turns are written for one model. ``start`` None: DeepSeek-Coder's headings. ``warning``: for the user."""

    system: str
    start: int | None
    end: int | None
    stop_tokens: frozenset[int]
    warning: str = ""


def chat_format(vocabulary: Vocabulary, template: str = "") -> ChatFormat:
    """The format that a vocabulary tells; ``template`` is the name of the model's fill-in-the-middle format."""
    ends = {token for spelling in (_END, _END_OF_TURN) if (token := vocabulary.special(spelling)) is not None}
    stops = frozenset(ends) | vocabulary.end_tokens
    start, end = vocabulary.special(_START), vocabulary.special(_END)
    if start is not None and end is not None:
        return ChatFormat(QWEN_SYSTEM if template == "qwen" else OTHER_SYSTEM, start, end, stops)
    end = vocabulary.special(_END_OF_TURN)
    warning = "" if end is not None else "the model was not made to follow instructions; answers may be of little use"
    return ChatFormat(DEEPSEEK_SYSTEM if template == "deepseek" else OTHER_SYSTEM, None, end, stops, warning)


def conversation(vocabulary: Vocabulary, style: ChatFormat, turns: Sequence[str], begun: str = "") -> list[int]:
    """Instruction, response, instruction … with all around them, up to where the next response goes on (``begun``).

    Each text is tokenised by itself, as it was when the response before was written.
    """
    tokens = [] if vocabulary.bos is None else [vocabulary.bos]
    if style.start is None:
        heading = f"{style.system}\n"
        for number, text in enumerate(turns):
            if number % 2:
                tokens += [*vocabulary.tokenize(f"{text}\n"), *([] if style.end is None else [style.end])]
                heading = "\n"
            else:
                tokens += vocabulary.tokenize(f"{heading}### Instruction:\n{text.strip()}\n### Response:\n")
        return [*tokens, *(vocabulary.tokenize(begun) if begun else ())]
    assert style.end is not None
    line = vocabulary.tokenize("\n")
    said = [("system", style.system), *(("assistant" if n % 2 else "user", text) for n, text in enumerate(turns))]
    for role, text in said:
        tokens += [style.start, *vocabulary.tokenize(f"{role}\n{text}"), style.end, *line]
    return [*tokens, style.start, *vocabulary.tokenize(f"assistant\n{begun}")]


class AskBuilder:
    """Prompts of questions, for one model."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        style: ChatFormat,
        config: PromptConfig,
        context_tokens: int,
        *,
        parameters: int = 0,
    ) -> None:
        """``parameters`` of the model; 0: not known, taken for many."""
        self._small = 0 < parameters < _SMALL_PARAMETERS
        self._cache = TokenCache(vocabulary)
        self.style = style
        self._config = config
        self._context_tokens = context_tokens

    def build(self, request: AskRequest) -> tuple[list[int], tuple[int, ...]]:
        """The prompt, and which of the snippets are in it. The file and other files are cut to what fits.

        :raises ContextOverflow: the instruction alone is too long.
        """
        bare = self._tokens(request, "", "", "")
        room = self._context_tokens - request.max_tokens - len(bare) - _MARGIN
        if room < 0:
            raise ContextOverflow(
                f"the instruction has {len(bare)} tokens and {request.max_tokens} are to be generated, "
                f"but a sequence holds {self._context_tokens}",
                hint="select less, or raise engine.context_tokens",
            )
        if request.self_contained and self._small:
            return bare, ()
        budget = self._config.context_tokens // (_SMALL_BLOCK if self._small else 1)
        block, used = self._block(request, min(budget, room // 3))
        room -= self._cache.count(block)
        window = min(room, int(_WINDOW_SHARE * (self._config.prefix_tokens + self._config.suffix_tokens)))
        after_budget = int(window * _AFTER_SHARE)
        if self._small:
            # Shown what stands below a cursor, it takes that for what is wanted, or for a reason to write nothing.
            window, after_budget = min(window, _SMALL_WINDOW_TOKENS), 0
        shown = request.after if request.after.strip() and after_budget else ""
        after = shown[: first_lines(self._cache, shown, after_budget)]
        before_budget = window - self._cache.count(after)
        before = request.before[last_lines(self._cache, request.before, before_budget) :] if before_budget > 0 else ""
        return self._tokens(request, block, before, after), used

    def _tokens(self, request: AskRequest, block: str, before: str, after: str) -> list[int]:
        fence = f"```{request.language}"
        name = request.path or "the file"
        parts = [block] if block else []
        if before.strip():
            parts.append(f"Code of {name}:\n{fence}\n{before.strip(chr(10))}\n```\n")
        if after.strip():
            parts.append(f"Below that, it goes on:\n{fence}\n{after.strip(chr(10))}\n```\n")
        parts.append(request.instruction)
        return conversation(self._cache.vocabulary, self.style, ["\n".join(parts)], request.begun)

    def _block(self, request: AskRequest, budget: int) -> tuple[str, tuple[int, ...]]:
        """Other files, as code under comments with their paths: the best of them that fit, in the order given."""
        if not request.snippets or budget <= 0:
            return "", ()
        comments = by_id(request.language).line_comments
        comment = comments[0] if comments else "#"
        texts = [_shown(snippet, comment) for snippet in request.snippets]
        left = budget - self._cache.count(_BLOCK_HEAD + _BLOCK_END)
        kept: list[int] = []
        for number in sorted(range(len(texts)), key=lambda n: -request.snippets[n].score):
            cost = self._cache.count(texts[number])
            if cost <= left:
                left -= cost
                kept.append(number)
        if not kept:
            return "", ()
        return _BLOCK_HEAD + "".join(texts[number] for number in sorted(kept)) + _BLOCK_END, tuple(sorted(kept))


_BLOCK_HEAD, _BLOCK_END = "Code of other files of the project:\n```\n", "```\n"
_MARGIN = 48
"""Fences, headings, and what tokens taken alone merge into less."""


def _shown(snippet: Snippet, comment: str) -> str:
    return f"{comment} {snippet.path}\n{snippet.text.strip(chr(10))}\n"
