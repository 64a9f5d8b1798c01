"""What the states of tasks say to whoever looks at a run in Prefect: one line each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from convoforge.errors import BudgetExceeded, LimiterClosed
from convoforge.models import Outcome, Status
from convoforge.pricing import dollars
from convoforge.printable import printable_line

MAX_CHARACTERS = 500
"""Maximum length of a reason: some quote what the API sent."""

_WORDS = {
    Status.ACCEPTED: "accepted",
    Status.NEEDS_REVISION: "need revision",
    Status.DROPPED: "dropped",
    Status.FAILED: "failed",
    Status.PENDING: "failed for now",
}


def is_unsent(outcome: Outcome) -> bool:
    """Whether a request was not sent: the run stops, or a budget has no room for it."""
    return isinstance(outcome.error, LimiterClosed | BudgetExceeded)


def has_failed(outcome: Outcome) -> bool:
    """Whether a request was sent and brought no answer."""
    return outcome.status in (Status.FAILED, Status.PENDING) and not is_unsent(outcome)


def explain(outcome: Outcome) -> str:
    """An outcome in words: its score or its reason, and what it cost."""
    score = f"score {outcome.quality.score}" if outcome.quality else ""
    why = shorten(outcome.reason) if outcome.status is not Status.ACCEPTED else ""
    cost = dollars(outcome.cost_usd) if outcome.cost_usd else ""
    return ", ".join(filter(None, (score, cost, why))) or "no reason is known"


def end_conversation(outcomes: Sequence[Outcome], data: Any) -> State[Any]:
    """The state of a task that generates one conversation."""
    if not outcomes:
        return Completed(name="Skipped", message="another process generates it, or the run is stopping", data=data)
    (outcome,) = outcomes
    if is_unsent(outcome):
        return Completed(name="Unsent", message=shorten(outcome.reason), data=data)
    if has_failed(outcome):
        return Failed(message=explain(outcome), data=data)
    return Completed(name=outcome.status.replace("_", " ").capitalize(), message=explain(outcome), data=data)


def end_shard(outcomes: Sequence[Outcome], requests: int, data: Any) -> State[Any]:
    """The state of a task that generates many: how many of what, what they cost, and why the first one failed."""
    sent = [one for one in outcomes if not is_unsent(one)]
    counts = Counter(one.status for one in sent)
    parts = [f"{counts[status]} {word}" for status, word in _WORDS.items() if counts[status]]
    if left := requests - len(sent):
        parts.append(f"{left} not sent here")
    cost = dollars(sum((one.cost_usd for one in sent), start=Decimal(0))) if sent else ""
    failed = next((shorten(one.reason) for one in sent if has_failed(one)), "")
    message = f"{', '.join(parts)}{f'; {cost}' if cost else ''}{f'; failed: {failed}' if failed else ''}"
    if sent and all(map(has_failed, sent)):
        return Failed(message=message, data=data)
    return Completed(name="Partial" if failed else "Completed", message=message, data=data)


async def read_data(ended: State[Any]) -> Any:
    """What a task has ended with, also where its state is a failure; raises what it has raised."""
    data = await ended.aresult(raise_on_failure=False)
    if isinstance(data, BaseException):
        raise data
    return data


def shorten(text: object) -> str:
    """A reason on one line, no longer than anybody reads."""
    line = printable_line(" ".join(str(text).split()))
    return line if len(line) <= MAX_CHARACTERS else f"{line[: MAX_CHARACTERS - 1]}…"
