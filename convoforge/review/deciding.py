"""Decisions of reviewers: written, taken back, read. Nothing is ever changed or removed; the last decision that stands is the one that
counts, whoever made it. Everything that publishes follows it: see `convoforge.dataset.acceptance`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from sqlalchemy import Connection

from convoforge.errors import ConfigError, GenerationValidationError, StaleEdit, UnknownConversation, shown
from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_conversation, write_conversation
from convoforge.ledger.reviews import Decision, HeldAnswer, Review, add_review, find_answer, lock_answer, read_answer_reviews
from convoforge.ledger.signatures import forget_signature
from convoforge.models import AnswerKind, Conversation, Turn
from convoforge.parsing import check_turns
from convoforge.printable import is_text
from convoforge.scoring.duplicates import content_hash

DECISIONS: tuple[Decision, ...] = get_args(Decision)
KEPT = ("accept", "edit")
"""The decisions that publish a conversation."""

MAX_NOTE = 10_000
MAX_REVIEWER = 200
"""Maximum characters of a note, and of a reviewer's name."""


@dataclass(frozen=True, slots=True)
class NewReview:
    """A decision to be written. `turns` are an edit's: objects with role and content. `at` is None where the time is not known. `edit_of`
    is what the turns were made of, the id of an edit or 0 for the original; None where nobody knows."""

    conversation_id: str
    decision: str
    reviewer: str
    note: str = ""
    turns: Sequence[Turn | Mapping[str, Any]] | None = None
    at: datetime | None = None
    edit_of: int | None = None


def decide(
    ledger: Ledger,
    conversation_id: str,
    decision: str,
    reviewer: str,
    *,
    now: datetime,
    note: str = "",
    turns: Sequence[Turn | Mapping[str, Any]] | None = None,
    edit_of: int | None = None,
) -> Review:
    """Write a decision on a conversation. An edit whose turns are those of the original is written as accept.

    Raises `UnknownConversation`; `StaleEdit` where another edit stands than `edit_of`; and `ConfigError` for turns that make no
    conversation and other values that cannot be.
    """
    return ledger.write(_write_new, NewReview(conversation_id, decision, reviewer, note, turns, edit_of=edit_of), now)


def undo(ledger: Ledger, conversation_id: str, reviewer: str, *, now: datetime) -> Review:
    """Take back the last decision of this reviewer on a conversation: what counted before counts again. Returns the new row.

    Raises `UnknownConversation`, and `ConfigError` where this reviewer has no decision to take back.
    """
    return ledger.write(_write_undo, conversation_id, _check_reviewer(reviewer), now)


def read_reviews(ledger: Ledger, conversation_id: str) -> list[Review]:
    """All reviews of a conversation, the oldest first. Raises `UnknownConversation`."""
    answer = ledger.read(_find, conversation_id)
    return ledger.read(read_answer_reviews, answer.request_id, answer.attempt)


def find_deciding(reviews: Iterable[Review]) -> Review | None:
    """The one of a conversation's reviews that counts."""
    return next((one for one in reviews if one.decides), None)


def find_edit(reviews: Iterable[Review]) -> Review | None:
    """The edit that is published, as a conversation's reviews have it."""
    last = find_deciding(reviews)
    return last if last and last.turns else None


def import_review(connection: Connection, new: NewReview, dataset_id: int, now: datetime) -> Review | None:
    """Write a decision that comes from a file, within a transaction; None where it is there already: with the same time, or, where the file
    has none, as what this reviewer has decided last. Raises as `decide` does, also for a conversation of another dataset."""
    checked = _check(connection, new)
    answer = checked.answer
    if answer.dataset_id != dataset_id:
        raise UnknownConversation(f"conversation {new.conversation_id} is of another dataset")
    reviews = read_answer_reviews(connection, answer.request_id, answer.attempt)
    decided = [one for one in reviews if one.reviewer == checked.reviewer and one.decision != "undo"]
    alike = decided[-1:] if new.at is None else [one for one in decided if one.at == new.at]
    turns = checked.edited.turns if checked.edited else None
    if any((one.decision, one.note, one.turns) == (checked.decision, checked.note, turns) for one in alike):
        return None
    return _write(connection, checked, new.at or now)


@dataclass(frozen=True, slots=True)
class _Checked:
    answer: HeldAnswer
    decision: str
    reviewer: str
    note: str
    edited: Conversation | None


def _check(connection: Connection, new: NewReview) -> _Checked:
    answer = _find(connection, new.conversation_id)
    decision, edited = _check_decision(new, answer)
    if new.edit_of is not None:
        lock_answer(connection, answer)
        _check_base(new.edit_of, read_answer_reviews(connection, answer.request_id, answer.attempt))
    return _Checked(answer, decision, _check_reviewer(new.reviewer), _check_note(new.note), edited)


def _write_new(connection: Connection, new: NewReview, now: datetime) -> Review:
    return _write(connection, _check(connection, new), new.at or now)


def _write(connection: Connection, new: _Checked, at: datetime) -> Review:
    answer = new.answer
    before = find_edit(read_answer_reviews(connection, answer.request_id, answer.attempt))
    turns, digest = (write_conversation(new.edited), content_hash(new.edited)) if new.edited else (None, None)
    row = add_review(connection, answer, new.decision, new.reviewer, at, note=new.note, turns=turns, content_hash=digest)
    return _return(connection, answer, row, before)


def _write_undo(connection: Connection, conversation_id: str, reviewer: str, now: datetime) -> Review:
    answer = _find(connection, conversation_id)
    reviews = read_answer_reviews(connection, answer.request_id, answer.attempt)
    last = next((one for one in reversed(reviews) if one.stands and one.reviewer == reviewer), None)
    if last is None:
        raise ConfigError(f"{shown(reviewer)} has decided nothing on conversation {conversation_id} that could be undone")
    return _return(connection, answer, add_review(connection, answer, "undo", reviewer, now, undoes=last.id), find_edit(reviews))


def _return(connection: Connection, answer: HeldAnswer, row: int, before: Review | None) -> Review:
    """The row that was just written. Where other turns are published than before, they are compared with others anew."""
    reviews = read_answer_reviews(connection, answer.request_id, answer.attempt)
    after = find_edit(reviews)
    if (before and before.turns) != (after and after.turns):
        forget_signature(connection, answer.request_id)
    return next(one for one in reviews if one.id == row)


def _find(connection: Connection, conversation_id: str) -> HeldAnswer:
    answer = find_answer(connection, conversation_id) if conversation_id.isascii() and conversation_id.isalnum() else None
    if answer is None:
        raise UnknownConversation(f"there is no conversation {shown(conversation_id)}")
    if not answer.is_held:
        raise UnknownConversation(f"conversation {conversation_id} has been replaced by another answer: review that one")
    if answer.kind != AnswerKind.OK or answer.turns is None:
        raise UnknownConversation(
            f"{conversation_id} is an answer that holds no conversation ({answer.kind}): there is nothing to review"
        )
    return answer


def _check_decision(new: NewReview, answer: HeldAnswer) -> tuple[str, Conversation | None]:
    if new.decision not in DECISIONS:
        raise ConfigError(f"{shown(new.decision)} is no decision: give {', '.join(DECISIONS[:-1])} or {DECISIONS[-1]}")
    if new.decision != "edit":
        if new.turns is not None:
            raise ConfigError(f"turns come with the decision edit, not with {new.decision}")
        if new.edit_of is not None:
            raise ConfigError(f"what an edit was made of comes with the decision edit, not with {new.decision}")
        return new.decision, None
    if new.turns is None:
        raise ConfigError("the decision edit needs turns: all of them, edited")
    items = [{"role": one.role, "content": one.content} if isinstance(one, Turn) else one for one in new.turns]
    try:
        edited = check_turns(items)
    except GenerationValidationError as error:
        raise ConfigError(f"the edited turns make no conversation: {error}") from None
    if edited.system is not None:
        raise ConfigError("the edited turns hold a system turn: leave it out, the template's stays")
    assert answer.turns
    same = edited.turns == read_conversation(answer.turns, None).turns
    return ("accept", None) if same else ("edit", edited)


def _check_base(edit_of: int, reviews: Sequence[Review]) -> None:
    edit = find_edit(reviews)
    if edit_of == (edit.id if edit else 0):
        return
    if edit:
        raise StaleEdit(f"{edit.reviewer} has edited this conversation meanwhile: read that text before you replace it")
    raise StaleEdit("the edit that this one was made of no longer counts: read the text that stands before you replace it")


def _check_reviewer(name: str) -> str:
    name = name.strip()
    if not name or len(name) > MAX_REVIEWER or not name.isprintable():
        raise ConfigError(f"{shown(name)} is no reviewer's name: give one line of 1 to {MAX_REVIEWER} characters")
    return name


def _check_note(note: str) -> str:
    note = note.strip()
    if len(note) > MAX_NOTE:
        raise ConfigError(f"a note of {len(note):,} characters is too long: {MAX_NOTE:,} are allowed")
    if "\0" in note or not is_text(note):
        raise ConfigError("the note holds a character that cannot be stored: type it anew")
    return note
