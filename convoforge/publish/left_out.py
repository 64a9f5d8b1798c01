"""What was not accepted, reason by reason, with examples: read from the file beside a version."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]

EXAMPLES = 3
MAX_CHARACTERS = 320
"""Maximum length of an example."""

_RESULT = "scorer_results.list.element."
_TURN = re.compile(r"\bturn (\d+)\b")
WORDS = (
    (re.compile(r"score \d+ is below (\d+)"), r"score below \1"),
    (re.compile(r"(near-)?duplicate\b.*"), r"\1duplicates of accepted ones"),
    (re.compile(r".*\bin review"), "a reviewer's decision"),
)
"""Reasons as they begin, and what they are called in a list."""

_ORDER = ("refused by the API", "no conversation", "filter", "score", "duplicates", "near-duplicates", "a reviewer")


@dataclass(frozen=True, slots=True)
class Example:
    """A part of what was held back, with personal data masked, and why it did."""

    where: str
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class HeldBack:
    """What one reason held back: `left` conversations were left after it."""

    name: str
    count: int
    left: int
    examples: Sequence[Example]


def list_held_back(beside: Path | None, accepted: int) -> list[HeldBack]:
    """What was held back, reason by reason: in the order in which a conversation is looked at, filters by how much they hold back."""
    counts: Counter[str] = Counter()
    places: dict[str, list[tuple[int, int]]] = defaultdict(list)
    if beside is None:
        return []
    file = pq.ParquetFile(beside)
    for group in range(file.num_row_groups):
        columns = ["status", "reasons", "n_turns", f"{_RESULT}name", f"{_RESULT}verdict"]
        for number, row in enumerate(file.read_row_group(group, columns=columns, use_threads=False).to_pylist()):
            name = _name_reason(row)
            counts[name] += 1
            if len(places[name]) < EXAMPLES:
                places[name].append((group, number))
    examples = _read_examples(file, places)
    left, found = accepted + counts.total(), []
    for name, count in sorted(counts.items(), key=lambda item: (_rank(item[0]), -item[1], item[0])):
        left -= count
        found.append(HeldBack(name, count, left, examples[name]))
    return found


def _rank(name: str) -> int:
    return next((rank for rank, start in enumerate(_ORDER) if name.startswith(start)), len(_ORDER))


def _name_reason(row: Mapping[str, Any]) -> str:
    first = (row["reasons"] or [""])[0]
    if row["status"] == "failed":
        return "refused by the API"
    if row["n_turns"] is None:
        return f"no conversation: {first.partition(':')[0].replace('_', ' ')}"
    for result in row["scorer_results"] or ():
        if result["verdict"] in ("drop", "revise") and first.startswith(f"{result['name']}: "):
            return f"filter {result['name']}"
    return next((found.expand(words) for pattern, words in WORDS if (found := pattern.match(first))), "other reasons")


def _read_examples(file: Any, places: Mapping[str, Sequence[tuple[int, int]]]) -> Mapping[str, Sequence[Example]]:
    wanted = sorted({group for some in places.values() for group, _ in some})
    columns = ["messages", "raw_text", "reasons", "persona", "emotion", "topic", "tier"]
    found: dict[str, list[Example]] = defaultdict(list)
    for group in wanted:
        table = file.read_row_group(group, columns=columns, use_threads=False)
        for name, some in places.items():
            found[name] += [_make_example(table.slice(number, 1).to_pylist()[0]) for at, number in some if at == group]
    return found


def _make_example(row: Mapping[str, Any]) -> Example:
    """The turn that the reason names, or the one that says most of the whole: the first answer; else the raw text."""
    reason = "; ".join(row["reasons"] or ())
    turns = [turn for turn in row["messages"] or () if turn["role"] != "system"]
    named = _TURN.search(reason)
    number = min(int(named[1]) if named else 2, len(turns))
    text = turns[number - 1]["content"] if turns else row["raw_text"] or ""
    where = " · ".join(filter(None, (row["persona"], row["emotion"], row["topic"], row["tier"])))
    at = f"turn {number}, {turns[number - 1]['role']}" if turns else ""
    return Example(" — ".join(filter(None, (where, at))), _cut(text), _cut(reason))


def _cut(text: str) -> str:
    from convoforge.scoring.filters.pii import mask_personal_data  # its patterns take a while to compile

    text = mask_personal_data(" ".join(text[: 10 * MAX_CHARACTERS].split()))  # before it is cut: half a number is not found
    return text if len(text) <= MAX_CHARACTERS else f"{text[: MAX_CHARACTERS - 1]}…"
