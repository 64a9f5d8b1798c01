"""The acceptance rule: which draws are accepted, why others are not, and which draws to request next. Pure.

Nothing of this is stored, so a new threshold, a review or a new duplicate changes it at once. The verdict on a draw depends only on
draws that come before it, by (draw number, cell key): so the accepted set is the same in whatever order answers arrived, whatever
failed on the way, and wherever a plan has put a cell. A draw that only failed in transport stays pending and is never replaced.

This is the one rule of what is accepted: `publish`, `plan`, `show`, the card and the report ask it, and figures over many answers
(`costs/accepted.py`) ask it wherever an answer's score does not decide alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from convoforge.models import UNJUDGED, AnswerKind, Quality, Status
from convoforge.planning.draws import Draw


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a draw counts as, and why."""

    draw: Draw
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Neighbor:
    """The conversation of another request that one resembles, 0 to 1. `published_as` says which it is, if any version has held it."""

    request_id: int
    similarity: float
    published_as: str = ""


@dataclass(frozen=True, slots=True)
class Neighbors:
    """Near-duplicates by request, in both directions, and what the later one counts as. `unknown` are requests whose conversation has not
    been compared with the others yet: it counts as not scored. `torn` ones resemble a published conversation of another split, and say
    which: published ones never move, so there is no place for them."""

    of: Mapping[int, Sequence[Neighbor]] = field(default_factory=dict)
    unknown: Collection[int] = frozenset()
    status: Status = Status.DROPPED
    torn: Mapping[int, str] = field(default_factory=dict)


NO_NEIGHBORS = Neighbors()

_REVIEWED: Mapping[str, tuple[Status, str]] = {
    "accept": (Status.ACCEPTED, ""),
    "edit": (Status.ACCEPTED, ""),
    "reject": (Status.DROPPED, "rejected in review"),
    "revise": (Status.NEEDS_REVISION, "sent back in review"),
}
"""What a conversation counts as that has been reviewed, and why."""

TORN = "which is in another split"


@dataclass(frozen=True, slots=True)
class StatusSummary:
    """A dataset's status in figures: draws by what they count as, pending draws, cells that ran out of draws, requests of short cells
    that the API has refused, and the most frequent reason for that. `unjudged` ones wait for a judge."""

    counts: Counter[Status]
    pending: int
    exhausted: int
    refused: int
    why_refused: str
    unjudged: int = 0


@dataclass(frozen=True, slots=True)
class DatasetStatus:
    """The whole dataset under today's plan.

    `accepted` are the draws that a version holds, in its order. `rejected` are the others that have a verdict. `pending` are the
    registered draws that a run is to generate, `to_request` the (cell key, draw number) pairs to register next. `unscored` counts
    answers without a score. `exhausted` are the cells that ran out of draws. `answered` are all draws that hold an answer. `refused` are
    the draws of short cells that the API refused: they cost nothing, and are requested again only on demand. `to_judge` would be
    accepted if a judge had read them: they count as unknown, like those without a score.
    """

    accepted: tuple[Draw, ...]
    rejected: tuple[Verdict, ...]
    pending: tuple[Draw, ...]
    to_request: tuple[tuple[str, int], ...]
    unscored: int
    exhausted: tuple[str, ...]
    counts: Counter[Status]
    answered: tuple[Draw, ...]
    refused: tuple[Draw, ...]
    to_judge: tuple[Draw, ...] = ()

    @property
    def summary(self) -> StatusSummary:
        """The same in figures, which take no memory."""
        reasons = Counter(draw.reason or "" for draw in self.refused)
        why = reasons.most_common(1)[0][0] if reasons else ""
        return StatusSummary(self.counts, len(self.pending), len(self.exhausted), len(self.refused), why, len(self.to_judge))


def assess(
    cells: Sequence[str],
    draws: Iterable[Draw],
    *,
    min_score: int,
    per_cell: int,
    max_draws: int,
    near: Neighbors = NO_NEIGHBORS,
) -> DatasetStatus:
    """The verdict on each draw of `cells`, and what is missing. Draws of other cells are not part of the plan and are left out.

    A cell wants `per_cell` accepted draws and may use `per_cell * max_draws` draws over all runs. A draw that the API refused keeps its
    number, as the same request would be refused again; a cell with one of those has not run out of draws. Draws beyond `per_cell` (left
    over from another threshold) stay in reserve: they are not published, and nothing is dropped for repeating them.

    An edited draw has the content of its edited turns: what repeats these is dropped, what repeats its original is not.

    A near-duplicate repeats an accepted draw that comes before it, or a published conversation that is not in the plan: of another dataset,
    or one that has left this one.
    """
    index = {cell: number for number, cell in enumerate(cells)}
    # sorted twice by what is there, not once by pairs: for a million draws that is less than half the memory
    rows = sorted((row for row in draws if row.cell in index), key=attrgetter("cell"))
    rows.sort(key=attrgetter("draw"))
    known = _Known(rows, near)
    accepted_in, unscored_in, waiting_in, used_in = ([0] * len(cells) for _ in range(4))
    counts: Counter[Status] = Counter()
    accepted, rejected, unjudged = [], [], []
    for row in rows:
        cell = index[row.cell]
        used_in[cell] = row.draw + 1
        if row.kind is None and row.state != "failed":
            waiting_in[cell] += 1
            continue
        # a review decides at once, however the conversation compares with others
        if row.kind == AnswerKind.OK and (row.score is None or (row.decision is None and row.request_id in near.unknown)):
            unscored_in[cell] += 1
            continue
        verdict = _judge(row, min_score, known)
        if verdict.status is Status.PENDING:  # a judge is to read it, where its cell wants it
            if accepted_in[cell] + unscored_in[cell] < per_cell:
                unscored_in[cell] += 1
                unjudged.append(row)
        elif verdict.status is not Status.ACCEPTED:
            counts[verdict.status] += 1
            rejected.append(verdict)
        elif accepted_in[cell] < per_cell:
            accepted_in[cell] += 1
            accepted.append(row)
            known.add(row)
    counts[Status.ACCEPTED] = len(accepted)
    short = [per_cell - good - unknown for good, unknown in zip(accepted_in, unscored_in, strict=True)]
    pending = list(_needed(rows, index, short))
    counts[Status.PENDING] = len(pending)
    refused = [row for row in rows if row.kind is None and row.state == "failed" and short[index[row.cell]] > 0]
    refused_in = {index[row.cell] for row in refused}
    to_request, exhausted = [], []
    limit = per_cell * max_draws
    for number, cell_key in enumerate(cells):
        missing = short[number] - waiting_in[number]
        if missing > 0:
            to_request += [(cell_key, draw) for draw in range(used_in[number], min(used_in[number] + missing, limit))]
            if used_in[number] >= limit and number not in refused_in:
                exhausted.append(cell_key)
    to_request.sort(key=lambda one: (one[1], index[one[0]]))
    accepted.sort(key=lambda row: (index[row.cell], row.draw))
    return DatasetStatus(
        accepted=tuple(accepted),
        rejected=tuple(rejected),
        pending=tuple(pending),
        to_request=tuple(to_request),
        unscored=sum(unscored_in) - len(unjudged),
        exhausted=tuple(exhausted),
        counts=counts,
        answered=tuple(row for row in rows if row.kind is not None),
        refused=tuple(refused),
        to_judge=tuple(_choose_first(unjudged, near)),
    )


def _choose_first(rows: Iterable[Draw], near: Neighbors) -> Iterator[Draw]:
    """Of what holds the same or nearly the same, the first: the others are likely to be dropped for repeating it."""
    known: set[bytes | int | None] = set()
    for row in rows:
        if row.content_hash not in known and known.isdisjoint(one.request_id for one in near.of.get(row.request_id, ())):
            known |= {row.content_hash or row.request_id, row.request_id}
            yield row


class _Known:
    """What a draw may not repeat: the accepted draws before it, and of its near-duplicates the published ones that are not in the plan."""

    def __init__(self, rows: Iterable[Draw], near: Neighbors) -> None:
        self._near = near
        self._first: dict[bytes, Draw] = {}  # content hash → the accepted draw that has it
        self._names = {one.request_id: one.published_as for some in near.of.values() for one in some if one.published_as}
        for row in rows if self._names else ():
            self._names.pop(row.request_id, None)

    def add(self, row: Draw) -> None:
        if row.content_hash is not None:
            self._first.setdefault(row.content_hash, row)
        if row.request_id in self._near.of:
            self._names[row.request_id] = row.conversation_id

    def find_torn(self, row: Draw) -> Verdict | None:
        """The verdict on a draw that has no place in a split, whoever would accept it."""
        other = self._near.torn.get(row.request_id)
        return None if other is None else Verdict(row, Status.DROPPED, f"resembles conversation {other}, {TORN}")

    def find_repeated(self, row: Draw) -> Verdict | None:
        """The verdict on a draw that repeats what is known."""
        twin = self._first.get(row.content_hash) if row.content_hash else None
        if twin is not None:
            return Verdict(row, Status.DROPPED, f"duplicate of conversation {twin.conversation_id}")
        near = [
            (one.similarity, name) for one in self._near.of.get(row.request_id, ()) if (name := self._names.get(one.request_id))
        ]
        if not near:
            return None
        similarity, name = max(near)
        return Verdict(row, self._near.status, f"near-duplicate of conversation {name} ({similarity:.2f} alike)")


def _needed(rows: Iterable[Draw], index: Mapping[str, int], short: Sequence[int]) -> Iterator[Draw]:
    """The pending draws that a run is to generate: no more than a cell is short of, so that none is paid for only to lie in reserve.
    A refresh was asked for and is always among them; until it is there, the old answer counts."""
    taken = [0] * len(short)
    for row in rows:
        if row.state not in ("pending", "claimed"):
            continue
        cell = index[row.cell]
        if row.kind is None:
            taken[cell] += 1
        if row.kind is not None or taken[cell] <= short[cell]:
            yield row


def _judge(row: Draw, min_score: int, known: _Known) -> Verdict:
    if row.kind is None:
        return Verdict(row, Status.FAILED, row.reason or "the API refused the request")
    if row.kind != AnswerKind.OK:
        return Verdict(row, Status.DROPPED, f"{row.kind}: {row.reason or 'no conversation'}")
    if row.decision is not None:
        status, reason = _REVIEWED[row.decision]
        return (known.find_torn(row) if status is Status.ACCEPTED else None) or Verdict(row, status, reason)
    status, reason = _rule(row.score or 0, row.rejection, row.reason or "", min_score)
    if status is not Status.ACCEPTED:
        return Verdict(row, status, reason)
    judged = Status.PENDING if row.rejection == UNJUDGED else Status.ACCEPTED
    return known.find_torn(row) or known.find_repeated(row) or Verdict(row, judged, row.reason or "")


def judge_quality(quality: Quality, min_score: int, decision: str | None = None) -> tuple[Status, str]:
    """What a conversation of this quality counts as where it repeats no other one, and why. `decision` is its review's."""
    if decision is not None:
        return _REVIEWED[decision]
    verdict, reason = quality.rejection or (None, "")
    return _rule(quality.score, verdict, reason, min_score)


def judge_alone(row: Draw, min_score: int) -> tuple[Status, str]:
    """What a scored draw counts as by score and filters, whatever reviews and the other draws say; and why."""
    return _rule(row.score or 0, row.rejection, row.reason or "", min_score)


def _rule(score: int, rejection: str | None, reason: str, min_score: int) -> tuple[Status, str]:
    if rejection not in (None, UNJUDGED):
        return (Status.DROPPED if rejection == "drop" else Status.NEEDS_REVISION), reason
    if score < min_score:
        return Status.NEEDS_REVISION, f"score {score} is below {min_score}"
    return Status.ACCEPTED, ""
