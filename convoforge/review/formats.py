"""Conversations and reviews as other tools write them: plain, as records of Argilla 2, as tasks of Label Studio. Pure.

What is asked is called alike in all: `decision`, `note`, and `edited`, the text form of an edit. docs/reviewing.md shows how to set the
tools up. What has been decided already comes with a record as a suggestion (Argilla) or prediction (Label Studio) of who decided it: both
refuse answers of users that they do not know.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from unicodedata import normalize

from convoforge.errors import ConfigError, shown
from convoforge.ledger.reviews import Review
from convoforge.models import Turn
from convoforge.review import ReviewFormat
from convoforge.review.deciding import MAX_REVIEWER, NewReview, find_deciding
from convoforge.review.items import ReviewItem
from convoforge.review.text_form import read_text, write_text


def write_record(item: ReviewItem, dataset: str, kind: ReviewFormat) -> dict[str, Any]:
    """A conversation with its reviews."""
    return {"plain": _write_plain, "argilla": _write_argilla, "label-studio": _write_task}[kind](item, dataset)


def read_record(record: Any, kind: ReviewFormat, reviewer: str) -> list[NewReview]:
    """The decisions in a record; none where nobody has decided. `reviewer` is who decided where the record does not say. Raises
    `ConfigError` where it is none of the format."""
    read = {"plain": _read_plain, "argilla": _read_argilla, "label-studio": _read_task}[kind]
    try:
        found = [*read(record, reviewer)]
        for one in found:
            texts = one.conversation_id, one.decision, one.reviewer, one.note
            if not all(isinstance(text, str) for text in texts) or not isinstance(one.turns, list | None):
                raise TypeError
    except (TypeError, AttributeError, KeyError, IndexError):
        raise ConfigError(f"this is no record of the format {kind}: {_SHAPES[kind]}") from None
    return found


_SHAPES: Mapping[ReviewFormat, str] = {
    "plain": "it needs conversation_id, and reviews with decision, reviewer, note, messages, at",
    "argilla": "it needs id, and responses with decision, note, edited, each a list of value, user_id and status",
    "label-studio": "it needs data with conversation_id, and annotations, each with a result",
}

_NO_AGENT = re.compile(r"[^\w\s:./-]+", re.ASCII)
"""What Argilla's server refuses in the name of an agent."""


def _write_plain(item: ReviewItem, dataset: str) -> dict[str, Any]:
    def plain(review: Review) -> dict[str, Any]:
        turns = {"messages": _plain_turns(review.turns)} if review.turns else {}
        said = {name: getattr(review, name) for name in ("decision", "reviewer", "note")}
        return {**said, "at": review.at.isoformat(), **turns}

    reviews = [plain(one) for one in item.reviews if one.stands]
    return {"dataset": dataset, **item.describe(), "messages": _plain_turns(item.conversation.turns), "reviews": reviews}


def _read_plain(record: Any, reviewer: str) -> Iterator[NewReview]:
    for one in record["reviews"]:
        note, at = one.get("note") or "", one.get("at")
        yield NewReview(
            record["conversation_id"], one["decision"], one.get("reviewer") or reviewer, note, one.get("messages"), _read_time(at)
        )


def _write_argilla(item: ReviewItem, dataset: str) -> dict[str, Any]:
    names = ("persona", "emotion", "topic", "tier", "template", "status")
    who, suggested = _suggest(item)
    agent = _NO_AGENT.sub("-", normalize("NFKD", who).encode("ascii", "ignore").decode())[:MAX_REVIEWER].strip()
    agent = agent if re.search("[A-Za-z0-9]", agent) else "reviewer"
    answers = {"edited": write_text(item.conversation.turns), **suggested}
    suggestions = {name: {"value": value, "score": None, "agent": agent} for name, value in answers.items()}
    return {
        "id": item.conversation_id,
        "fields": {"conversation": _plain_turns(item.conversation.turns)},
        "metadata": {
            "dataset": dataset,
            **{name: getattr(item, name) for name in names},
            **({"score": item.quality.score} if item.quality else {}),
        },
        "suggestions": suggestions,
        "responses": {},
        "vectors": {},
        "_server_id": None,
    }


def _read_argilla(record: Any, reviewer: str) -> Iterator[NewReview]:
    said: dict[str, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for question, responses in record["responses"].items():
        for one in responses:
            if one.get("status") is None:
                raise ConfigError(
                    "a response has no status, so that drafts look like decisions: write the file as docs/reviewing.md shows"
                )
            if one["status"] == "submitted":
                said[str(one.get("user_id") or reviewer)][question].append(one["value"])
    for who, answers in said.items():
        yield from _make_review(record["id"], who, answers, None)


def _write_task(item: ReviewItem, dataset: str) -> dict[str, Any]:
    names = ("conversation_id", "persona", "emotion", "topic", "tier", "template", "status", "reason")
    turns = {"messages": _plain_turns(item.conversation.turns), "text": write_text(item.conversation.turns)}
    about = {"score": item.quality.score if item.quality else None, **{name: getattr(item, name) for name in names}}
    who, suggested = _suggest(item)
    results = [
        {
            "id": name,
            "from_name": name,
            "to_name": "conversation",
            "type": "choices" if name == "decision" else "textarea",
            "value": {"choices": [value]} if name == "decision" else {"text": [value]},
        }
        for name, value in suggested.items()
    ]
    return {
        "data": {"dataset": dataset, **about, **turns},
        "annotations": [],
        # not the text to edit: a box holds it already ($text), and Label Studio would add it to the prediction's
        "predictions": [{"model_version": who, "result": results}] if results else [],
    }


def _read_task(record: Any, reviewer: str) -> Iterator[NewReview]:
    for annotation in record["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        by = annotation.get("completed_by")
        who = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
        answers: dict[str, list[Any]] = defaultdict(list)
        for one in annotation["result"]:
            given = one["value"]["choices"] if one["type"] == "choices" else one["value"].get("text") or []
            answers[one["from_name"]] += [given] if isinstance(given, str) else given
        at = _read_time(annotation.get("updated_at") or annotation.get("created_at"))
        yield from _make_review(record["data"]["conversation_id"], str(who) if who else reviewer, answers, at)


def _make_review(name: str, who: str, answers: Mapping[str, Sequence[Any]], at: datetime | None) -> Iterator[NewReview]:
    """The decision in somebody's answers to each question; none where that one has no answer, whatever was noted."""
    who = "".join(letter if letter.isprintable() else " " for letter in who).strip()[:MAX_REVIEWER]
    if (decision := _take(answers, "decision", who)) is not None:
        turns = read_text(_take(answers, "edited", who) or "") if decision == "edit" else None
        yield NewReview(name, decision, who, "\n".join(answers.get("note", ())), turns, at)


def _take(answers: Mapping[str, Sequence[Any]], question: str, who: str) -> Any:
    """The one answer to a question. Raises `ConfigError` for several: two texts, one below the other, would be one conversation."""
    given = [one for one in answers.get(question, ()) if one]
    if len(given) > 1:
        raise ConfigError(f"{shown(who)} has given {len(given)} answers to {shown(question)}, where one counts: leave one")
    return given[0] if given else None


def _suggest(item: ReviewItem) -> tuple[str, dict[str, str]]:
    """What a tool shows as decided already: whose it is, and the answer to each question."""
    decided = find_deciding(item.reviews)
    if decided is None:
        return "convoforge", {}
    return decided.reviewer, {"decision": decided.decision, **({"note": decided.note} if decided.note else {})}


def _plain_turns(turns: Iterable[Turn]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in turns]


def _read_time(text: Any) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise ConfigError(f"{shown(text)} is no time: give one as 2026-11-27T09:30:00Z") from None
    if at.tzinfo is None:
        raise ConfigError(f"{shown(text)} has no time zone: give one as 2026-11-27T09:30:00Z")
    try:
        return at.astimezone(UTC)
    except OverflowError:
        raise ConfigError(f"{shown(text)} is no time between the years 1 and 9999 in UTC") from None
