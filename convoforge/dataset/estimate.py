"""What a build will cost and how long it takes, before anything is sent: low, expected and high, at once or in batches.

What a draw needs is told by `expected_draws`, refills by how many answers were accepted so far. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.draw_costs import DrawTokens, Range, sum_costs
from convoforge.dataset.expected_draws import SURE, expect_draws
from convoforge.dataset.judge_estimate import JudgeEstimate, estimate_judge
from convoforge.errors import ConfigError, format_count
from convoforge.ledger.history import Made
from convoforge.models import Status
from convoforge.planning.draws import Draw
from convoforge.planning.plan import Plan
from convoforge.pricing import Price, price_of

_REFUSED_AT_WORST = 0.5  # the share of answers not accepted that `high` reckons with, where there is no past


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a build is expected to need. `requests` are draws, refills included; `batch` is the price in batches, None where the model
    has none; `mode` is the spec's; `seconds` are at the configured limits, of which `limited_by` is the tightest; `basis` says what was
    gone by. `judge` is what a judge has of both prices."""

    conversations: int
    requests: int
    mode: str
    online: Range
    batch: Range | None
    seconds: float
    limited_by: str
    basis: str
    judge: JudgeEstimate | None = None

    @property
    def cost(self) -> Range:
        """What it costs in the spec's mode."""
        return self.batch if self.mode == "batch" and self.batch else self.online

    @property
    def as_json(self) -> dict[str, Any]:
        """Plain values, money as strings."""
        here = self.cost
        return {
            "requests_expected": self.requests,
            "estimated_cost_usd": f"{here.expected:.6f}",
            "estimated_low_usd": f"{here.low:.6f}",
            "estimated_high_usd": f"{here.high:.6f}",
            "online_cost_usd": f"{self.online.expected:.6f}",
            "batch_cost_usd": f"{self.batch.expected:.6f}" if self.batch else None,
            "seconds_at_limits": ceil(self.seconds),
            "held_up_by": self.limited_by,
            "estimate_basis": self.basis,
            **({"judge": self.judge.as_json(self.mode)} if self.judge else {}),
        }


def templates_of(plan: Plan, cells: Iterable[str]) -> Counter[str]:
    """Number of draws of each template that the cells (one for each draw, by their keys) stand for."""
    template = {cell.key: cell.template for cell in plan.cells}
    return Counter(template[cell] for cell in cells)


def count_missing(plan: Plan, status: DatasetStatus, limit: int | None = None, again: Sequence[Draw] = ()) -> Counter[str]:
    """The draws that a build generates, at most `limit` of them, by template: what is pending, what was refused and is asked `again`,
    and what is asked for next, which a refused one that is asked again takes the place of."""
    cells = [draw.cell for draw in (*status.pending, *again)]
    cells += [cell for cell, _ in list_spared(status.to_request, again)]
    return templates_of(plan, cells[:limit])


def list_spared(asked: Iterable[tuple[str, int]], again: Iterable[Draw]) -> Iterator[tuple[str, int]]:
    """What is `asked` for next, without those draws that others of their cells take the place of."""
    taken = Counter(draw.cell for draw in again)
    for cell, draw in asked:
        if taken[cell]:
            taken[cell] -= 1
        else:
            yield cell, draw


def estimate(
    plan: Plan,
    draws: Mapping[str, int],
    status: DatasetStatus,
    history: Mapping[str, Made],
    *,
    counted: Mapping[str, float] | None = None,
    refills: bool = True,
    judged: Mapping[str, Made] | None = None,
    waiting: Mapping[str, int] | None = None,
) -> Estimate:
    """The estimate for `draws` of each template. `counted` are the API's input tokens of one, where it was asked. Without `refills`
    no draw is asked for in place of one that is not accepted: a run that makes only so many. `judged` is what a judge's answers to
    each template's conversations were like; so many held ones are `waiting` for it, and what is generated is judged as well."""
    each = expect_draws(plan, history, counted)
    known = _narrowed(each, draws)
    total = sum(draws.values())
    factors = _refills(plan, status) if refills else (1.0, 1.0, 1.0)
    batch_price = _batch_price(plan)

    counts = {name: [count * factor for factor in factors] for name, count in draws.items()}
    to_judge = Counter(waiting or {})
    judge = estimate_judge(
        plan,
        {name: [count + to_judge[name] for count in counts.get(name, [0.0] * 3)] for name in {*counts, *to_judge}},
        {name: one.output[1] / plan.spec.generation.candidates for name, one in each.items()},  # one of them is judged
        judged or {},
    )

    online = sum_costs(known, counts, price_of(plan.spec.model, overrides=plan.spec.prices))
    batch = sum_costs(known, counts, batch_price, batch=True) if batch_price else None
    if judge is not None:
        online, batch = online + judge.online, batch + judge.batch if batch and judge.batch else None
    requests = total * factors[1]
    seconds, limited_by = _seconds(plan, known, draws, factors[1])
    limits = plan.spec.limits
    if judge is not None:  # it is asked after each round, under limits of its own that are as wide
        seconds += judge.requests / limits.max_requests / limits.pause_threshold * limits.window_seconds
    return Estimate(
        conversations=total,
        requests=ceil(requests - 1e-9),
        mode=plan.spec.mode,
        online=online,
        batch=batch,
        seconds=seconds,
        limited_by=limited_by,
        basis=_basis(known, draws, status, counted),
        judge=judge,
    )


def _narrowed(known: dict[str, DrawTokens], draws: Mapping[str, int]) -> dict[str, DrawTokens]:
    """The same, with ranges that hold for the sum: what one template's answers exceed their mean by, another's fall short of."""
    offs = [count * (known[name].output[2] - known[name].output[1]) for name, count in draws.items() if known[name].measured]
    if not any(offs):
        return known
    share = sqrt(sum(off * off for off in offs)) / sum(offs)

    def narrow(draw: DrawTokens) -> DrawTokens:
        low, mean, high = draw.output
        return replace(draw, output=(mean - (mean - low) * share, mean, mean + (high - mean) * share)) if draw.measured else draw

    return {name: narrow(draw) for name, draw in known.items()}


def _refills(plan: Plan, status: DatasetStatus) -> tuple[float, float, float]:
    """Draws for each conversation that is wanted: low, expected, high; by what was accepted of what was judged so far."""
    accepted = status.counts[Status.ACCEPTED]
    judged = accepted + status.counts[Status.NEEDS_REVISION] + status.counts[Status.DROPPED]
    max_draws = plan.spec.max_draws
    if not judged:
        return 1.0, 1.0, _draws_each(1 - _REFUSED_AT_WORST, max_draws)
    share = (accepted + 1) / (judged + 1)
    off = SURE * sqrt(share * (1 - share) / judged) + 1 / (judged + 1)
    return _draws_each(min(1.0, share + off), max_draws), _draws_each(share, max_draws), _draws_each(share - off, max_draws)


def _draws_each(accepted: float, max_draws: int) -> float:
    """Expected number of draws for a conversation where this share is accepted, with a maximum: a cut-off geometric mean."""
    return float(max_draws) if accepted <= 0.01 else min(float(max_draws), (1 - (1 - accepted) ** max_draws) / accepted)


def _seconds(plan: Plan, known: Mapping[str, DrawTokens], draws: Mapping[str, int], factor: float) -> tuple[float, str]:
    """Seconds at the configured limits, and the limit that decides."""
    limits = plan.spec.limits
    count = sum(draws.values()) * factor
    each = {
        "input_tokens": sum(n * (known[name].prompt - known[name].shared) for name, n in draws.items()) * factor,
        "output_tokens": sum(n * known[name].output[1] for name, n in draws.items()) * factor,
    }
    rates = {"max_requests": count / limits.max_requests}
    rates |= {name: tokens / limit for name, tokens in each.items() if (limit := getattr(limits, name))}
    waits = {name: share / limits.pause_threshold * limits.window_seconds for name, share in rates.items()}
    waits["concurrency"] = sum(n * known[name].seconds for name, n in draws.items()) * factor / limits.concurrency
    limited_by = max(waits, key=lambda name: waits[name])
    return waits[limited_by], f"limits.{limited_by}"


def _batch_price(plan: Plan) -> Price | None:
    try:
        return price_of(plan.spec.model, batch=True, overrides=plan.spec.prices)
    except ConfigError:
        return None


def _basis(
    known: Mapping[str, DrawTokens], draws: Mapping[str, int], status: DatasetStatus, counted: Mapping[str, float] | None
) -> str:
    past = sum(known[name].known for name in draws)
    new = [name for name in draws if not known[name].known]
    parts = []
    if past:
        parts.append(f"{format_count(past, 'answer')} so far")
    if new:
        parts.append("what the templates ask for" if not past else f"what {', '.join(new)} asks for")
    if counted:
        parts.append("prompts counted by the API")
    judged = status.counts[Status.ACCEPTED] + status.counts[Status.NEEDS_REVISION] + status.counts[Status.DROPPED]
    parts.append(f"{status.counts[Status.ACCEPTED]} of {judged} answers accepted" if judged else "no refills expected yet")
    return "; ".join(parts)
