"""Which conversations of a dataset a reviewer is asked to look at, and in which order. Pays nothing, changes nothing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, get_args

from convoforge.dataset.acceptance import judge_alone
from convoforge.dataset.status import read_status
from convoforge.errors import ConfigError, nearest, shown
from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_answers, read_conversation
from convoforge.ledger.judgments import read_judged, read_judgments
from convoforge.ledger.reviews import Reviews, read_dataset_reviews
from convoforge.models import AnswerKind, Quality, Status
from convoforge.planning.draws import Draw
from convoforge.planning.plan import Cell, Plan
from convoforge.planning.spec import AXES
from convoforge.scoring.judge import Judge

SampleKind = Literal["all", "borderline", "disagreements", "rejected", "random"]
MAX_RANDOM = 1_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A rule by which conversations are chosen; `number` of each axis value is random's."""

    kind: SampleKind
    number: int = 0

    @classmethod
    def parse(cls, text: str) -> Sample:
        """A sample from its name: all, borderline, disagreements, rejected, random:N. Raises `ConfigError`."""
        name, _, number = text.partition(":")
        if name == "random" and number.isascii() and number.isdigit() and 1 <= int(number) <= MAX_RANDOM:
            return cls("random", int(number))
        if name == "random":
            raise ConfigError(
                f"{shown(text)} is no sample: random:N takes N conversations of each axis value, 1 to {MAX_RANDOM:,}"
            )
        for kind in get_args(SampleKind):
            if text == kind:
                return cls(kind)
        known = (*get_args(SampleKind)[:-1], "random:N")
        raise ConfigError(f"{shown(text)} is no sample{nearest(text, known)}")

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}" if self.number else self.kind


@dataclass(frozen=True, slots=True)
class Reviewable:
    """A conversation to be reviewed, its cell, and what it counts as by the rules alone, without any review."""

    draw: Draw
    cell: Cell
    status: Status
    reason: str


@dataclass(frozen=True, slots=True)
class Queue:
    """What a reviewer is to look at, in order, and what this reviewer has decided already of the same sample."""

    todo: tuple[Reviewable, ...]
    done: tuple[Reviewable, ...]

    def __len__(self) -> int:
        return len(self.todo) + len(self.done)

    def cut(self, limit: int | None) -> Queue:
        """The first of what is to do."""
        return Queue(self.todo[:limit], self.done)


def choose(ledger: Ledger, plan: Plan, dataset_id: int, sample: Sample, *, reviewer: str, again: bool = False) -> Queue:
    """The conversations of a sample that nobody has reviewed; with `again` also those that only others have: a second opinion.

    all: what needs revision first, then what is near the threshold, then the rest · borderline: scores just below the threshold and just
    at it · disagreements: where judge and rules say opposite things, whichever would keep it · rejected: what is not accepted · random: so
    many of each value of each axis, by the spec's seed. A decision leaves the sample as it is, so that a review goes on where it has
    stopped.
    """
    reviewables = _list_reviewables(ledger, plan, dataset_id)
    disputed = _find_disagreements(ledger, plan, dataset_id) if sample.kind == "disagreements" else set()
    chosen = sorted(_choose(reviewables, sample, plan, disputed), key=lambda one: _rank(one, plan, sample))
    by = _find_reviewers(ledger.read(read_dataset_reviews, dataset_id))
    own = [one for one in chosen if reviewer in by[one.draw.request_id]]
    others = [one for one in chosen if again or not by[one.draw.request_id]]
    return Queue(tuple(one for one in others if reviewer not in by[one.draw.request_id]), tuple(own))


def _list_reviewables(ledger: Ledger, plan: Plan, dataset_id: int) -> list[Reviewable]:
    """The conversations that count today: accepted or not, and not in reserve."""
    status, cells = read_status(ledger, plan, dataset_id), {cell.key: cell for cell in plan.cells}
    found = [(draw, Status.ACCEPTED, "") for draw in status.accepted]
    found += [(one.draw, one.status, one.reason) for one in status.rejected if one.draw.kind == AnswerKind.OK]
    return [
        Reviewable(draw, cells[draw.cell], *(judge_alone(draw, plan.spec.quality.min_score) if draw.decision else (what, why)))
        for draw, what, why in found
    ]


def _choose(reviewables: Sequence[Reviewable], sample: Sample, plan: Plan, disputed: AbstractSet[int]) -> Iterable[Reviewable]:
    match sample.kind:
        case "borderline":
            return [one for one in reviewables if one.status is not Status.DROPPED and _distance(one, plan) < 1]
        case "rejected":
            return [one for one in reviewables if one.status is not Status.ACCEPTED]
        case "disagreements":
            return [one for one in reviewables if one.draw.request_id in disputed]
        case "random":
            return _draw_lots(reviewables, sample.number, plan.spec.seed)
    return reviewables


def _draw_lots(reviewables: Sequence[Reviewable], number: int, seed: int) -> Iterable[Reviewable]:
    taken: dict[tuple[str, str], int] = defaultdict(int)
    chosen: dict[int, Reviewable] = {}
    for one in sorted(reviewables, key=lambda one: _lot(one, seed)):
        for value in ((axis, getattr(one.cell, axis)) for axis in AXES):
            if taken[value] < number:
                taken[value] += 1
                chosen[one.draw.request_id] = one
    return chosen.values()


def _lot(one: Reviewable, seed: int) -> str:
    return sha256(f"{seed} {one.draw.conversation_id}".encode()).hexdigest()


def _distance(one: Reviewable, plan: Plan) -> float:
    """How far a score is from the threshold: 0.5 for the lowest that is enough, and for the highest that is not."""
    return abs((one.draw.score or 0) - plan.spec.quality.min_score + 0.5)


def _rank(one: Reviewable, plan: Plan, sample: Sample) -> tuple[object, ...]:
    if sample.kind == "random":
        return (_lot(one, plan.spec.seed),)
    first = (Status.NEEDS_REVISION, Status.ACCEPTED, Status.DROPPED).index(one.status)
    return first, _distance(one, plan), one.draw.draw, one.draw.cell


def _find_reviewers(reviews: Reviews) -> Mapping[int, set[str]]:
    """Who has decided on each request's conversation, and has not taken it back."""
    return defaultdict(set, {request: {one.reviewer for one in some if one.stands} for (request, _), some in reviews.items()})


def _find_disagreements(ledger: Ledger, plan: Plan, dataset_id: int) -> set[int]:
    """The requests of a dataset whose conversation judge and rules disagree on, whichever of the two would keep it. Asks no judge:
    what it has said already counts."""
    judged, min_score = ledger.read(read_judged, dataset_id), plan.spec.quality.min_score
    by_judge = {request: passes for request, one in judged.items() if (passes := _find_verdict(one)) is not None}
    by_judge |= _read_unused(ledger, plan, [request for request, one in judged.items() if _is_filtered(one)])
    return {
        request
        for request, passes in by_judge.items()
        if passes != (judged[request].score >= min_score and not _is_filtered(judged[request]))
    }


def _find_verdict(quality: Quality) -> bool | None:
    """Whether the judge would keep a conversation; None where it has said nothing that counts."""
    verdicts = [one.verdict for one in quality.results if one.name.startswith("judge.")]
    return all(verdict == "keep" for verdict in verdicts) if verdicts else None


def _is_filtered(quality: Quality) -> bool:
    return any(one.verdict in ("drop", "revise") and not one.name.startswith("judge") for one in quality.results)


def _read_unused(ledger: Ledger, plan: Plan, ids: Sequence[int]) -> Iterator[tuple[int, bool]]:
    """Whether the judge would keep conversations that a filter rejects: it has read those that were reviewed, or that a filter has come to
    reject since, and their results hold no word of it."""
    if (choice := plan.spec.quality.judge) is None or not ids:
        return
    judge = Judge.of(choice, plan.library.folder)
    rows = ledger.read(lambda connection: [row for row in read_answers(connection, ids) if row.turns and row.judge_key])
    answers = ledger.read(read_judgments, [row.judge_key for row in rows])
    for row in rows:
        if (answer := answers.get(row.judge_key)) is not None:
            said = judge.apply(Quality(row.score), read_conversation(row.turns, row.system), answer)
            if (passes := _find_verdict(said)) is not None:
                yield row.id, passes
