"""How a dataset stands: which draws are accepted, why others are not, and which draws to ask for next. Pure.

Nothing of this is stored, so a new threshold, a review or a new duplicate changes it at once. The verdict on a draw depends only on
draws that come before it, by (draw number, key of the cell): so the accepted set is the same in whatever order answers arrived,
whatever failed on the way, and wherever a plan has put a cell. A draw that only failed in transport stays pending and is never replaced.

This is the one rule of what is accepted: `publish`, `plan`, `show`, the card and the report ask it, and figures over many answers
(`ledger/accepted.py`) ask it wherever an answer's score does not decide alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter

from convoforge.identity import conversation_id, wanted_key
from convoforge.models import AnswerKind, Status


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw as the ledger holds it. `state` is pending, claimed, held or failed; the rest is of the answer it holds. `sent` and
    `content_hash` are digests in bytes, as a large dataset's draws are all in memory at once: half of what their digits take."""

    request_id: int
    cell: str
    draw: int
    state: str
    sent: bytes | None = None
    kind: str | None = None
    score: int | None = None
    content_hash: bytes | None = None
    reason: str | None = None
    decision: str | None = None

    @property
    def conversation_id(self) -> str:
        """The name in the dataset of the conversation it holds."""
        return conversation_id(wanted_key(self.cell, self.draw), self.sent.hex() if self.sent else "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a draw counts as, and why."""

    draw: Draw
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Summary:
    """A standing in figures: how many draws count as what, how many are pending, how many cells ran out of draws, how many requests of
    short cells the API has refused, and the reason that most of them have."""

    counts: Counter[Status]
    pending: int
    exhausted: int
    refused: int
    why_refused: str


@dataclass(frozen=True, slots=True)
class Standing:
    """The whole dataset under today's plan. `publish` are the accepted draws a version holds, in its order; `revise` what lies
    beside; `ask` the draws to enrol next; `unscored` answers without a score yet; `exhausted` cells that ran out of draws; `refused` the
    draws of cells that are short which the API refused: they cost nothing, and may be asked again once somebody wishes it."""

    publish: tuple[Draw, ...]
    revise: tuple[Verdict, ...]
    pending: tuple[Draw, ...]
    ask: tuple[tuple[str, int], ...]
    unscored: int
    exhausted: tuple[str, ...]
    counts: Counter[Status]
    held: tuple[Draw, ...]
    refused: tuple[Draw, ...]

    @property
    def summary(self) -> Summary:
        """The same in figures, which take no memory."""
        reasons = Counter(draw.reason or "" for draw in self.refused)
        why = reasons.most_common(1)[0][0] if reasons else ""
        return Summary(self.counts, len(self.pending), len(self.exhausted), len(self.refused), why)


def assess(cells: Sequence[str], draws: Iterable[Draw], *, min_score: int, per_cell: int, max_draws: int) -> Standing:
    """Where each draw of `cells` stands, and what is missing. Draws of other cells are no part of the plan and are left out.

    A cell wants `per_cell` accepted draws and may use `per_cell * max_draws` draws over all runs. A draw that the API refused keeps its
    number, as the same request would be refused again; a cell with one of those has not run out of draws. Draws beyond `per_cell` (left
    over from another threshold) stay in reserve: they are not published, and nothing is dropped for repeating them.
    """
    place = {cell: index for index, cell in enumerate(cells)}
    # sorted twice by what is there, not once by pairs: of a million draws that is less than half the memory
    rows = sorted((row for row in draws if row.cell in place), key=attrgetter("cell"))
    rows.sort(key=attrgetter("draw"))
    first: dict[bytes, Draw] = {}  # content hash → the accepted draw that has it
    accepted, unscored, waiting, used = ([0] * len(cells) for _ in range(4))  # of each cell, by its place
    counts: Counter[Status] = Counter()
    publish, revise, held = [], [], []
    for row in rows:
        cell = place[row.cell]
        used[cell] = row.draw + 1
        if row.kind is None and row.state != "failed":
            waiting[cell] += 1
            continue
        if row.kind is not None:
            held.append(row)
        if row.kind == AnswerKind.OK and row.score is None:
            unscored[cell] += 1
            continue
        verdict = _judge(row, min_score, first)
        if verdict.status is not Status.ACCEPTED:
            counts[verdict.status] += 1
            revise.append(verdict)
        elif accepted[cell] < per_cell:
            accepted[cell] += 1
            publish.append(row)
            if row.content_hash is not None:
                first.setdefault(row.content_hash, row)
    counts[Status.ACCEPTED] = len(publish)
    short = [per_cell - good - unknown for good, unknown in zip(accepted, unscored, strict=True)]
    pending = list(_needed(rows, place, short))
    counts[Status.PENDING] = len(pending)
    refused = [row for row in rows if row.kind is None and row.state == "failed" and short[place[row.cell]] > 0]
    refused_in = {place[row.cell] for row in refused}
    ask, exhausted = [], []
    most = per_cell * max_draws
    for index, cell_key in enumerate(cells):
        missing = short[index] - waiting[index]
        if missing > 0:
            ask += [(cell_key, number) for number in range(used[index], min(used[index] + missing, most))]
            if used[index] >= most and index not in refused_in:
                exhausted.append(cell_key)
    ask.sort(key=lambda one: (one[1], place[one[0]]))
    publish.sort(key=lambda row: (place[row.cell], row.draw))
    return Standing(
        publish=tuple(publish),
        revise=tuple(revise),
        pending=tuple(pending),
        ask=tuple(ask),
        unscored=sum(unscored),
        exhausted=tuple(exhausted),
        counts=counts,
        held=tuple(held),
        refused=tuple(refused),
    )


def _needed(rows: Iterable[Draw], place: Mapping[str, int], short: Sequence[int]) -> Iterator[Draw]:
    """The pending draws that a run is to generate: no more than a cell is short of, so that none is paid for only to lie in reserve.
    A refresh was asked for and is always among them; until it is there, the old answer counts."""
    taken = [0] * len(short)
    for row in rows:
        if row.state not in ("pending", "claimed"):
            continue
        cell = place[row.cell]
        if row.kind is None:
            taken[cell] += 1
        if row.kind is not None or taken[cell] <= short[cell]:
            yield row


def _judge(row: Draw, min_score: int, first: Mapping[bytes, Draw]) -> Verdict:
    if row.kind is None:
        return Verdict(row, Status.FAILED, row.reason or "the API refused the request")
    if row.kind != AnswerKind.OK:
        return Verdict(row, Status.DROPPED, f"{row.kind}: {row.reason or 'no conversation'}")
    match row.decision:
        case "accept":
            return Verdict(row, Status.ACCEPTED)
        case "reject":
            return Verdict(row, Status.DROPPED, "rejected in review")
        case "revise":
            return Verdict(row, Status.NEEDS_REVISION, "sent back in review")
    if row.score is None or row.score < min_score:
        return Verdict(row, Status.NEEDS_REVISION, f"score {row.score} is below {min_score}")
    twin = first.get(row.content_hash) if row.content_hash else None
    if twin is not None:
        return Verdict(row, Status.DROPPED, f"duplicate of conversation {twin.conversation_id}")
    return Verdict(row, Status.ACCEPTED)
