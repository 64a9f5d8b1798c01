"""Why requests and conversations were not accepted, put into words: what happened, how often, an example, what to do. Pure.

What to do is said in one place, `_TO_DO`: the command line, the card, the manifest and Prefect's artifact all show these words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

What = Literal["refused", "failed", "maybe billed", "needs revision", "dropped", "retried"]
"""What became of it. Refused: the API rejects the request, which cost nothing. Failed: no answer came, and the draw stays pending.
Maybe billed: a call whose bill is not known. Needs revision, dropped: answers that are not accepted. Retried: a call that failed, after
which another one was made."""

ORDER: tuple[What, ...] = get_args(What)

HEADINGS = ("what happened", "how often", "example", "what to do")
"""The columns of `Reason.row`."""


@dataclass(frozen=True, slots=True)
class Reason:
    """What happened for one reason. `count` is of requests or conversations; of calls where `what` is maybe billed or retried. `example`
    is one of them in its own words; `conversation_id` is its id, if it has an answer."""

    what: What
    reason: str
    count: int
    example: str
    to_do: str
    conversation_id: str | None = None

    @property
    def row(self) -> tuple[str, str, str, str]:
        return f"{self.what}: {self.reason}", f"{self.count:,}", self.example, self.to_do

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Incident:
    """What happened `count` times with the same words. `request_id` is one of the requests. `lacks` are the scorers' reasons for a low
    score, by the name of the scorer."""

    what: What
    words: str
    request_id: int
    count: int = 1
    lacks: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Group:
    """Incidents of the same reason, with one of them as the example."""

    reason: Reason
    example: Incident

    def show_example(self, name: str, conversation_id: str | None) -> Reason:
        """The reason, with the example called by the name of its draw."""
        own = "; ".join(text for _, text in self.example.lacks) or self.example.words
        return replace(self.reason, example=f"{name}: {own}", conversation_id=conversation_id)


_SCORE = re.compile(r"score \d+ is below (\d+)")
_NUMBER = re.compile(r"(?<![\w(])\d[\d,.]*(?![\w)])")
"""A number that only one incident has: not a status in parentheses, not a part of a word."""

_JUDGED = re.compile(r"^(judge\.\w+): \d+ of (\d+) points, (\d+) needed.*", re.DOTALL)
_DUPLICATE = re.compile(r"duplicate of conversation \w+")
_NEAR = re.compile(r"near-duplicate of conversation \w+(?: of (.+))? \([\d.]+ alike\)")
_BEST = re.compile(r"([\d.,]+) (\D+); (\d+) to (\d+) are best")
_QUOTED = re.compile(r"'[^']*'")

_READ_SOME = "Read some with `convoforge show DATASET --rejected`"
_COMPARE = "Compare the account's bill with `convoforge costs`: budgets count the worst case"

_TO_DO: Mapping[What, tuple[tuple[str, str], ...]] = {
    "refused": (
        (r"\(413\)", "Shorten the template or the persona's description, then build again"),
        (r"", "Change what the API names and build again, or ask for it unchanged: `convoforge build SPEC --retry-refused`"),
    ),
    "failed": (
        (r"refused the key|no usable API key", "Set ANTHROPIC_API_KEY to a valid key, then build again"),
        (r"cannot pay|spend limit|on hold", "Add credit or raise the limit in the account's console, then build again"),
        (r"key may not do this", "Give the key this permission, or use another key, then build again"),
        (r"unknown model", "Correct `model` in the spec: `convoforge plan` says what is known of it"),
        (r"sends one elsewhere", "Set ANTHROPIC_BASE_URL to the API's own address"),
        (r"no room \(", "Build again later; if it happens often, lower limits.max_requests to what the account allows"),
        (r"^not sent: ", "Build again: the draw is taken up where it was left, and nothing was paid"),
        (r"in time", "Raise retry.timeout_seconds or lower generation.max_tokens, then build again"),
        (r"web page", "Check ANTHROPIC_BASE_URL and the proxy in between, then build again"),
        (r"no answer from", "Check the network, ANTHROPIC_BASE_URL and the proxy, then build again"),
        (r"process ended", "Build again: the draw is taken up where it was left"),
        (r"", "Build again: the draw stays pending. If it lasts, look at the API's status page"),
    ),
    "maybe billed": (
        (r"process ended", f"{_COMPARE}. End a build with Ctrl-C, which waits for its calls"),
        (r"in time", f"{_COMPARE}. Raise retry.timeout_seconds if it happens often"),
        (r"", _COMPARE),
    ),
    "needs revision": (
        (
            r"^judge: the API refused",
            "Change what the API names, or let it be judged after all: `convoforge build SPEC --retry-refused`",
        ),
        (r"^judge", f"{_READ_SOME}, then change the template, or the points in `quality.judge.min`"),
        (r"^turns: ", "Ask in the template for 8 to 16 turns"),
        (r"^length: ", "Ask in the template for turns of 100 to 400 characters"),
        (r"^structure: ", "Ask in the template for turns that alternate, the user first"),
        (r"sent back in review", "Read what the reviewer noted; another draw takes its place"),
        (r"score", f"{_READ_SOME}; `convoforge publish DATASET --dry-run --min-score N` shows what another threshold accepts"),
        (r"", f"{_READ_SOME}, then change the template, or the scorer or filter that is named"),
    ),
    "dropped": (
        (r"^judge", f"{_READ_SOME}, then change the template, or the points in `quality.judge.min`"),
        (r"^truncated: .*thinking", "Set generation.thinking to off or generation.effort lower, or raise generation.max_tokens"),
        (r"^truncated", "Raise generation.max_tokens, or ask in the template for fewer or shorter turns"),
        (r"^context_overflow", "Shorten the template, or take a model with a larger context window"),
        (r"^refused", "Change the topic, persona or template that the model declines"),
        (r"^(parse_error|invalid)", "Set generation.structured to true; else make the template's format clearer"),
        (r"of dataset '", "Nothing: that dataset has it already, and another draw takes its place"),
        (r"^(near-)?duplicate", "Give the template more material, or the spec more values of an axis"),
        (r"review", "Nothing: a reviewer decided it, and another draw takes its place"),
        (r"", f"{_READ_SOME}, then change the template, or the scorer or filter that is named"),
    ),
    "retried": (
        (r"no room \(", "Nothing: it was asked again. If it happens often, lower limits.max_requests to what the account allows"),
        (r"in time", "Nothing: it was asked again. If it happens often, raise retry.timeout_seconds"),
        (r"", "Nothing: it was asked again"),
    ),
}
"""What to do, by what happened: the first pattern that is found in the words counts."""


def find_to_do(what: What, words: str) -> str:
    """What a person can do about it, in one sentence without its period."""
    return next(text for pattern, text in _TO_DO[what] if re.search(pattern, words))


def group(incidents: Iterable[Incident]) -> list[Group]:
    """Incidents with the same reason together: by what happened, then the most frequent first. Their examples have no name yet."""
    found: dict[tuple[What, str], list[Incident]] = {}
    for one in sorted(incidents, key=lambda one: -one.count):
        found.setdefault((one.what, _QUOTED.sub("'…'", _NUMBER.sub("#", _generalize(one)))), []).append(one)
    groups = [_make(some) for some in found.values()]
    return sorted(groups, key=lambda one: (ORDER.index(one.reason.what), -one.reason.count, one.reason.reason))


def _make(some: list[Incident]) -> Group:
    first = some[0]
    lacks = [find_to_do(first.what, f"{name}: {text}") for name, text in first.lacks]
    advice = list(dict.fromkeys(lacks or [find_to_do(first.what, first.words)]))
    to_do = "; ".join([advice[0], *(text[0].lower() + text[1:] for text in advice[1:])])
    return Group(Reason(first.what, _generalize(first), sum(one.count for one in some), "", to_do), first)


def _generalize(one: Incident) -> str:
    """An incident's words without what only it has."""
    words = _NEAR.sub(lambda found: f"nearly the same as a conversation of {found[1] or 'this version'}", one.words)
    words = _SCORE.sub(r"score below \1", _DUPLICATE.sub("the same as an accepted conversation", words))
    words = _JUDGED.sub(r"\1: fewer than the \3 of \2 points that it needs", words)
    return f"{words}: {', '.join(sorted(_side(*lack) for lack in one.lacks))}" if one.lacks else words


def _side(name: str, text: str) -> str:
    """A scorer's reason as the side of its range on which a conversation lies: "33 characters a turn on average; 100 to 400 are best" of
    `length` is "length below 100 characters a turn on average". Of another reason its scorer's name."""
    if not (found := _BEST.fullmatch(text)):
        return name
    value, unit, low, high = float(found[1].replace(",", "")), found[2], int(found[3]), int(found[4])
    side = f"{name} below {low}" if value < low else f"{name} above {high}"
    return side if unit.startswith(name.rstrip("s")) else f"{side} {unit}"
