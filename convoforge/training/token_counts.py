"""How many tokens each turn of a conversation makes, and whether a chat template keeps what was said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from convoforge.publish.lengths import TURN_TOKENS, estimate_tokens
from convoforge.publish.measures import Spread, spread_counts
from convoforge.training.chat_template import ChatTemplate, Messages, TemplateFault
from convoforge.training.tokenizer import TrainingTokenizer

COMPARED = 200
"""Number of texts that are decoded again: a tokenizer that loses something loses it in the first of them."""


@dataclass(frozen=True, slots=True)
class CountedConversation:
    """Tokens of a whole conversation, and of what each turn says; what its template adds is in `total` alone. `fault` is what the template
    did wrong; `lossy`, that the tokenizer does not give the text back."""

    total: int
    turns: Sequence[tuple[str, int]]
    fault: str | None = None
    lossy: bool = False


@dataclass(frozen=True, slots=True)
class TokenTable:
    """How tokens are spread: by whom ("conversation", "system", "user", "assistant", "template") → spread, total, and bins, each up to and
    with its number of tokens."""

    spreads: Mapping[str, Spread]
    totals: Mapping[str, int]
    bins: Mapping[str, Mapping[int, int]]


class TokenCounter:
    """Counts with a tokenizer, or by an estimate without one; in what the template makes of a conversation, where there is one."""

    def __init__(self, tokenizer: TrainingTokenizer | None, template: ChatTemplate | None) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._compared = 0
        self._counts: dict[str, Counter[int]] = {}

    def count(self, conversations: Sequence[Messages]) -> Iterator[CountedConversation]:
        """What each conversation is, in their order; all of it is in `table` afterwards."""
        rendered = [self._render(messages) for messages in conversations]
        encodings = self._tokenizer.encode([text for text, _, _ in rendered]) if self._tokenizer else [None] * len(rendered)
        for messages, (text, spans, fault), encoding in zip(conversations, rendered, encodings, strict=True):
            counted = self._count(messages, text, spans, fault, encoding)
            self._add("conversation", counted.total)
            for role, tokens in counted.turns:
                self._add(role, tokens)
            self._add("template", counted.total - sum(tokens for _, tokens in counted.turns))
            yield counted

    def table(self) -> TokenTable:
        return TokenTable(
            spreads={who: spread_counts(counts) for who, counts in self._counts.items()},
            totals={who: sum(tokens * times for tokens, times in counts.items()) for who, counts in self._counts.items()},
            bins={who: _bins(counts) for who, counts in self._counts.items()},
        )

    def _add(self, who: str, tokens: int) -> None:
        self._counts.setdefault(who, Counter())[tokens] += 1

    def _render(self, messages: Messages) -> tuple[str, Sequence[tuple[int, int]], str | None]:
        """The text that is trained on, where in it each turn stands, and what is wrong with it."""
        contents = [str(one.get("content") or "") for one in messages]
        fault = None
        if self._template is not None:
            try:
                text, spans = self._template.render(messages), list[tuple[int, int]]()
                for number, content in enumerate(map(str.strip, contents), 1):
                    start = text.find(content, spans[-1][1] if spans else 0)
                    if start < 0:
                        fault = f"turn {number} is missing or changed in what the template makes of it"
                        break
                    spans.append((start, start + len(content)))
                else:
                    return text, spans, None
            except TemplateFault as error:
                fault = str(error)
        ends = [0]
        for content in contents:
            ends.append(ends[-1] + len(content) + 1)
        return "\n".join(contents), [(start, end - 1) for start, end in pairwise(ends)], fault

    def _count(
        self, messages: Messages, text: str, spans: Sequence[tuple[int, int]], fault: str | None, encoding: Any
    ) -> CountedConversation:
        roles = [str(one.get("role")) for one in messages]
        around = TURN_TOKENS * len(roles)
        if encoding is None or self._tokenizer is None:
            turns = [estimate_tokens(text[start:end]) for start, end in spans]
            whole = estimate_tokens("".join(text[start:end] for start, end in spans))
            return CountedConversation(whole + around, [*zip(roles, turns, strict=True)], fault)
        lossy = False
        if self._compared < COMPARED:
            self._compared += 1
            lossy = self._tokenizer.decode(encoding).strip() != text.strip()
        turns = [_token_at(encoding, end) - _token_at(encoding, start) for start, end in spans]
        total = len(encoding.ids) + (around if self._template is None or fault else 0)
        return CountedConversation(total, [*zip(roles, turns, strict=True)], fault, lossy)


def _token_at(encoding: Any, position: int) -> int:
    """The first token that holds the character at a position, or the next character that is in one: spaces may be in none."""
    found = (encoding.char_to_token(position + step) for step in range(8))
    return next((token for token in found if token is not None), len(encoding.ids))


def _bins(counts: Counter[int]) -> dict[int, int]:
    """Powers of two → how many are no more than that, and more than the one before."""
    bins: Counter[int] = Counter()
    for tokens, times in counts.items():
        bins[1 << max(0, tokens - 1).bit_length()] += times
    return dict(sorted(bins.items()))
