"""What a trainer would do with a published version: every row is read once, and nothing of it is kept but figures and hashes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from convoforge.errors import ConfigError
from convoforge.finding import Finding, good, warning
from convoforge.publish.lengths import recommend_length
from convoforge.publish.reading import PublishedVersion
from convoforge.training.chat_template import ChatTemplate
from convoforge.training.findings import (
    DEFAULT_LENGTHS,
    DuplicateLook,
    RoleLook,
    Tally,
    check_columns,
    check_length,
    check_splits,
)
from convoforge.training.rows import read_rows
from convoforge.training.token_counts import CountedConversation, TokenCounter, TokenTable
from convoforge.training.tokenizer import TrainingTokenizer, load_tokenizer


@dataclass(frozen=True, slots=True)
class TrainingCheck:
    """What was found, and how long everything is. `advised_length` (tokens) cuts nothing."""

    findings: tuple[Finding, ...]
    tokens: TokenTable
    advised_length: int

    @property
    def passed(self) -> bool:
        """Whether nothing keeps a trainer from learning what was published."""
        return all(one.state != "bad" for one in self.findings)

    def as_json(self) -> dict[str, Any]:
        """All of it, for a program."""
        return {
            "passed": self.passed,
            "findings": [asdict(one) for one in self.findings],
            "advised_max_length": self.advised_length,
            "tokens": {
                who: {**asdict(spread), "total": self.tokens.totals[who], "bins": self.tokens.bins[who]}
                for who, spread in self.tokens.spreads.items()
            },
        }


class TrainingChecker:
    """A check under way: `run` yields how many rows it has seen, `finish` says what it found.

    Raises ConfigError for a tokenizer or a chat template that cannot be had.
    """

    def __init__(
        self,
        published: PublishedVersion,
        *,
        tokenizer: str | None,
        max_length: int | None,
        chat_template: Path | None,
        now: datetime,
    ) -> None:
        self._published = published
        self._tokenizer = load_tokenizer(tokenizer) if tokenizer is not None else None
        self._template, self._template_name = _find_template(self._tokenizer, chat_template, now)
        self._counter = TokenCounter(self._tokenizer, self._template)
        self._max_length = max_length
        self._cut = {length: [0, 0] for length in (*DEFAULT_LENGTHS.values(), *filter(None, [max_length]))}
        self._roles, self._duplicates = RoleLook(), DuplicateLook()
        self._faults: dict[str, Tally] = {}
        self._lossy, self._control = Tally(), Tally()

    def run(self) -> Iterator[int]:
        """Looks at all rows. Raises ConvoforgeError where they cannot be read."""
        seen = 0
        for rows in read_rows(self._published):
            counted = self._counter.count([row.messages for row in rows])
            for row, one in zip(rows, counted, strict=True):
                self._roles.see(row)
                self._duplicates.see(row)
                self._see(row.conversation_id, one)
                self._see_control_tokens(row.conversation_id, [str(turn["content"]) for turn in row.messages])
            yield (seen := seen + len(rows))

    def finish(self) -> TrainingCheck:
        """What was found in all rows."""
        table = self._counter.table()
        longest = table.spreads["conversation"].maximum
        exact = self._tokenizer is not None and self._template is not None
        advised = -(-longest // 256) * 256 if exact else recommend_length(longest)
        findings = [
            *check_splits(self._published.manifest),
            *check_columns(self._published.read_schema()),
            *self._roles.list_findings(),
            *self._duplicates.list_findings(),
            *self._check_template(),
            *self._check_tokenizer(),
            check_length(
                longest,
                advised,
                max_length=self._max_length,
                cut={length: (conversations, tokens) for length, (conversations, tokens) in self._cut.items()},
                rows=self._published.manifest.rows,
            ),
        ]
        return TrainingCheck(tuple(findings), table, advised)

    def _see(self, conversation_id: str, counted: CountedConversation) -> None:
        for length, cut in self._cut.items():
            if counted.total > length:
                cut[0] += 1
                cut[1] += counted.total - length
        if counted.fault:
            self._faults.setdefault(counted.fault, Tally()).add(f"in {conversation_id}")
        if counted.lossy:
            self._lossy.add(f"in {conversation_id}")

    def _see_control_tokens(self, conversation_id: str, contents: list[str]) -> None:
        pattern = self._tokenizer.control_tokens if self._tokenizer else None
        if pattern is not None:
            for number, content in enumerate(contents, 1):
                if found := pattern.search(content):
                    self._control.add(f"{found[0]} in turn {number} of {conversation_id}")

    def _check_template(self) -> Iterator[Finding]:
        if self._template is None:
            if self._tokenizer is not None:
                what = f"{self._tokenizer.name} brings none: 4 tokens a turn are added"
                yield warning("chat template", what, "name the one that you train with: the option `chat_template`")
            return
        if not self._faults:
            yield good("chat template", f"{self._template_name} keeps every turn, in its order")
        for fault, tally in self._faults.items():
            yield tally.make_finding("chat template", "", f"{self._template_name}: {fault}", "train with another chat template")

    def _check_tokenizer(self) -> Iterator[Finding]:
        if self._tokenizer is None:
            yield warning(
                "tokenizer",
                "none was named: tokens are estimated by characters",
                "name the model that you train: the option `tokenizer`",
            )
            return
        yield self._control.make_finding(
            "control tokens",
            "no turn holds one",
            "turns that hold one",
            "the filter control_tokens drops such rows: build again",
        )
        yield self._lossy.make_finding(
            "tokenizer",
            f"{self._tokenizer.name} gives back what it is given",
            f"{self._tokenizer.name} does not give back what it is given",
            "look whether it knows the language's characters",
            only_warn=True,
        )


def _find_template(
    tokenizer: TrainingTokenizer | None, chat_template: Path | None, now: datetime
) -> tuple[ChatTemplate | None, str]:
    """The template of a file, else the tokenizer's own, and what to call it."""
    special = dict(tokenizer.special_tokens) if tokenizer else {}
    if chat_template is not None:
        try:
            text = chat_template.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"the chat template {chat_template} cannot be read: {getattr(error, 'strerror', None) or error}"
            ) from None
        return ChatTemplate.compile(text, special, now), chat_template.name
    if tokenizer is None or tokenizer.chat_template is None:
        return None, ""
    return ChatTemplate.compile(tokenizer.chat_template, special, now), f"the template of {tokenizer.name}"
