"""How a dataset stands: which draws are accepted, why others are not, and which draws to ask for next. Pure.

Nothing of this is stored, so a new threshold, a review or a new duplicate changes it at once. The verdict on a draw depends
only on draws that come before it, by (draw number, place of the cell): so the accepted set is the same in whatever order
answers arrived, and whatever failed on the way. A draw that only failed in transport stays pending and is never replaced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from convoforge.identity import conversation_id, wanted_key
from convoforge.models import AnswerKind, Status
from convoforge.quality.contract import Drop
from convoforge.quality.duplicates import first_of_each


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw as the ledger holds it. `state` is pending, claimed, held or failed; the rest is of the answer it holds."""

    request_id: int
    cell: str
    draw: int
    state: str
    sent: str | None = None
    kind: str | None = None
    score: int | None = None
    content_hash: str | None = None
    reason: str | None = None
    decision: str | None = None

    @property
    def conversation_id(self) -> str:
        """The name in the dataset of the conversation it holds."""
        return conversation_id(wanted_key(self.cell, self.draw), self.sent or "")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a draw counts as, and why."""

    draw: Draw
    status: Status
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """The whole dataset under today's plan. `publish` are the accepted draws a version holds, in its order; `revise` what lies
    beside; `ask` the draws to enrol next; `unscored` answers without a score yet; `exhausted` cells that ran out of draws."""

    publish: tuple[Draw, ...]
    revise: tuple[Verdict, ...]
    pending: tuple[Draw, ...]
    ask: tuple[tuple[str, int], ...]
    unscored: int
    exhausted: tuple[str, ...]
    counts: Counter[Status]
    held: tuple[Draw, ...]


def assess(cells: Sequence[str], draws: Iterable[Draw], *, min_score: int, per_cell: int, max_draws: int) -> Standing:
    """Where each draw of `cells` stands, and what is missing. Draws of other cells are no part of the plan and are left out.

    A cell wants `per_cell` accepted draws and may use `per_cell * max_draws` draws over all runs.
    """
    place = {cell: index for index, cell in enumerate(cells)}
    rows = sorted((row for row in draws if row.cell in place), key=lambda row: (row.draw, place[row.cell]))
    good = [row for row in rows if row.decision != "reject" and _good(row, min_score)]
    repeats = {drop.key: drop for drop in first_of_each((row, row.content_hash or "") for row in good)}
    accepted: Counter[str] = Counter()
    open_: Counter[str] = Counter()
    used: Counter[str] = Counter()
    counts: Counter[Status] = Counter()
    publish, revise, pending, unscored, held = [], [], [], 0, []
    for row in rows:
        used[row.cell] += 1
        if row.kind is not None:
            held.append(row)
        if row.state in ("pending", "claimed"):
            pending.append(row)  # with a kind: a refresh under way; the old answer counts until the new one is there
        if row.kind is None and row.state != "failed":
            open_[row.cell] += 1
            continue
        if row.kind == AnswerKind.OK and row.score is None:
            unscored += 1
            open_[row.cell] += 1
            continue
        verdict = _judge(row, min_score, repeats.get(row))
        counts[verdict.status] += 1
        if verdict.status is not Status.ACCEPTED:
            revise.append(verdict)
            continue
        accepted[row.cell] += 1
        if accepted[row.cell] <= per_cell:
            publish.append(row)
    counts[Status.ACCEPTED] = len(publish)
    counts[Status.PENDING] = len(pending)
    ask, exhausted = [], []
    most = per_cell * max_draws
    for cell in cells:
        missing = per_cell - accepted[cell] - open_[cell]
        for number in range(used[cell], min(used[cell] + max(0, missing), most)):
            ask.append((cell, number))
        if missing > 0 and used[cell] >= most:
            exhausted.append(cell)
    ask.sort(key=lambda one: (one[1], place[one[0]]))
    publish.sort(key=lambda row: (place[row.cell], row.draw))
    return Standing(tuple(publish), tuple(revise), tuple(pending), tuple(ask), unscored, tuple(exhausted), counts, tuple(held))


def _good(row: Draw, min_score: int) -> bool:
    """Whether a draw would be accepted for itself. A review says so in place of the score."""
    if row.kind != AnswerKind.OK or row.score is None or row.decision == "revise":
        return False
    return row.decision == "accept" or row.score >= min_score


def _judge(row: Draw, min_score: int, repeat: Drop[Draw] | None) -> Verdict:
    if row.kind is None:
        return Verdict(row, Status.FAILED, row.reason or "the API refused the request")
    if row.decision == "reject":
        return Verdict(row, Status.DROPPED, "rejected in review")
    if row.kind != AnswerKind.OK:
        return Verdict(row, Status.DROPPED, f"{row.kind}: {row.reason or 'no conversation'}")
    if not _good(row, min_score):
        why = "sent back in review" if row.decision == "revise" else f"score {row.score} is below {min_score}"
        return Verdict(row, Status.NEEDS_REVISION, why)
    if repeat is not None and row.decision != "accept":
        return Verdict(row, Status.DROPPED, f"{repeat.reason} of conversation {repeat.because_of.conversation_id}")
    return Verdict(row, Status.ACCEPTED)
