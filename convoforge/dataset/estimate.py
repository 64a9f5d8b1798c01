"""What a build will cost and how long it takes, before anything is sent: low, expected and high, at once or in batches.

Output goes by what the ledger remembers of the model's answers to each template, else by what the template asks for; input by a
count of the API's, else by the past, else by letters; refills by how many answers were accepted so far. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil, sqrt
from typing import Any

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.draw_costs import DrawTokens, Range, sum_costs
from convoforge.dataset.judge_estimate import JudgeEstimate, estimate_judge
from convoforge.errors import ConfigError, format_count
from convoforge.ledger.history import Made
from convoforge.models import Prompt, Status
from convoforge.planning.draws import Draw
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.openings import LONGEST
from convoforge.planning.plan import Cell, Plan, expected_usage, kept_text
from convoforge.planning.templates import Target
from convoforge.pricing import Price, price_of

SAMPLE = 8
"""Number of prompts of each template that are measured: they are spread evenly over every axis."""

_DIALOGUE = 0.875  # of the characters that a token of plain text has: the quotes and escapes of JSON
_CHARACTERS_A_TURN = 40  # the JSON around it
_TOKENS_A_SECOND = 70  # what a model writes, where nothing was measured yet
_REFUSED_AT_WORST = 0.5  # the share of answers not accepted that `high` reckons with, where there is no past
_THOUGHT = (0.5, 1.0, 2.0)  # how much of the thinking that is expected: low, expected, high
_SPREAD = 0.5  # of one answer's length, where there is but one
_SURE = 2.0  # standard deviations: 19 of 20


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
    taken = Counter(draw.cell for draw in again)
    cells = [draw.cell for draw in (*status.pending, *again)]
    for cell, _ in status.to_request:
        if taken[cell]:
            taken[cell] -= 1
        else:
            cells.append(cell)
    return templates_of(plan, cells[:limit])


def pick_samples(plan: Plan) -> dict[str, list[Prompt]]:
    """A few prompts of each template, spread over the axes, as long as they can get."""
    avoid = LONGEST if plan.spec.generation.avoid_repeats else ""
    found: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        some = found.setdefault(cell.template, [])
        if len(some) < SAMPLE:
            some.append(cell)
    return {template: [replace(plan.prompt(cell, 0), avoid=avoid) for cell in cells] for template, cells in found.items()}


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
    each = _draws(plan, history, counted)
    known = _narrowed(each, draws)
    total = sum(draws.values())
    factors = _refills(plan, status) if refills else (1.0, 1.0, 1.0)
    batch_price = _batch_price(plan)

    counts = {name: [count * factor for factor in factors] for name, count in draws.items()}
    to_judge = Counter(waiting or {})
    judge = estimate_judge(
        plan,
        {name: [count + to_judge[name] for count in counts.get(name, [0.0] * 3)] for name in {*counts, *to_judge}},
        {name: one.output[1] for name, one in each.items()},
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


def _draws(plan: Plan, history: Mapping[str, Made], counted: Mapping[str, float] | None) -> dict[str, DrawTokens]:
    """What one draw of each template needs. What some templates' answers were like is expected of the others, too."""
    prompts = pick_samples(plan)
    letters = {
        name: sum(expected_usage(prompt, plan.facts).input_tokens for prompt in some) / len(some)
        for name, some in prompts.items()
    }
    targets = {name: target_tokens(plan.library.template(name).target, plan.facts) for name in prompts}
    past = {name: made for name, made in history.items() if name in prompts}
    pooled = _pool(past, letters, {name: target[1] for name, target in targets.items()})

    def likely(name: str) -> Made | None:
        if pooled is None:
            return None
        made = past.get(name)
        output = made.output_tokens - made.thinking_tokens if made else targets[name][1] * pooled.output_tokens
        return replace(
            made or replace(pooled, prompt_tokens=letters[name] * pooled.prompt_tokens),
            output_tokens=output + pooled.thinking_tokens,
            # of three answers nobody knows how much they spread: what all of them do holds
            spread=max(pooled.spread * output, made.spread if made else 0.0),
        )

    def draw(name: str, some: Sequence[Prompt]) -> DrawTokens:
        made = likely(name)
        prompt = (counted or {}).get(name) or (made.prompt_tokens if made else letters[name])
        return _draw(plan, some[0], prompt, made, targets[name], own=name in past)

    return {name: draw(name, some) for name, some in prompts.items()}


def _pool(past: Mapping[str, Made], letters: Mapping[str, float], targets: Mapping[str, float]) -> Made | None:
    """What all answers say together, as shares of what letters and targets say: a template that has not answered yet is reckoned with
    them. `spread` is a share of the output, corrected for being measured on few."""
    answers = sum(made.answers for made in past.values())
    if not answers:
        return None

    def mean(share: Callable[[str, Made], float]) -> float:
        return sum(made.answers * share(name, made) for name, made in past.items()) / answers

    variance = mean(lambda _, made: (made.spread / max(1.0, made.output_tokens)) ** 2)
    lost = answers - len(past)  # each template's mean was taken from its own answers
    return Made(
        answers=answers,
        prompt_tokens=mean(lambda name, made: made.prompt_tokens / letters[name]),
        output_tokens=mean(lambda name, made: (made.output_tokens - made.thinking_tokens) / targets[name]),
        spread=sqrt(variance * answers / lost) * (1 + 1.5 / answers) if lost else _SPREAD,
        seconds=mean(lambda _, made: made.seconds),
        thinking_tokens=mean(lambda _, made: made.thinking_tokens),
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


def _draw(
    plan: Plan, example: Prompt, prompt: float, made: Made | None, target: tuple[float, float, float], *, own: bool
) -> DrawTokens:
    """One draw, of which `prompt` tokens are sent. `own`: what was `made` is of this very template."""
    text = kept_text(example, plan.facts, plan.spec.generation)
    shared = min(prompt, len(text) / plan.facts.characters_a_token) if text else 0.0
    limit = float(plan.spec.generation.max_tokens)
    thought = float(plan.thinking.expected_tokens)
    if made is None:
        low, expected, high = (min(limit, tokens + share * thought) for tokens, share in zip(target, _THOUGHT, strict=True))
        return DrawTokens(prompt, shared, (low, expected, high), _unmeasured(plan, expected), 0, measured=False)
    if plan.thinking.thinks and made.thinking_tokens:
        thought = made.thinking_tokens
    off = _SURE * made.spread * sqrt(1 / made.answers + 1 / max(1, plan.planned))
    mean = min(limit, made.output_tokens - made.thinking_tokens + thought)
    output = (max(min(1.0, mean), mean - off), mean, min(limit, mean + off))
    hits = _sure_hits(made, shared) if own else 0.0
    return DrawTokens(prompt, shared, output, made.seconds, made.answers if own else 0, measured=True, hits=hits)


def _sure_hits(made: Made, shared: float) -> float:
    """The share of the calls that surely find the cache, but for the one that writes it: what was seen, less what a share that was seen
    in so few may be off."""
    if made.answers < 2 or shared == 0:
        return 0.0
    seen = made.cached_tokens / (shared * (1 - 1 / made.answers))
    return max(0.0, min(1.0, seen) - 0.5 / sqrt(made.answers))


def target_tokens(target: Target, facts: ModelFacts) -> tuple[float, float, float]:
    """The output tokens of what a template asks for: the least, the middle, the most."""

    def tokens(turns: float, characters: float) -> float:
        return turns * (characters + _CHARACTERS_A_TURN * _DIALOGUE) / (facts.characters_a_token * _DIALOGUE)

    (fewest, most), (shortest, longest) = target.turns, target.characters
    return (
        tokens(fewest, shortest),
        tokens((fewest + most) / 2, (shortest + longest) / 2),
        tokens(most, longest),
    )


def _unmeasured(plan: Plan, output: float) -> float:
    return 0.0 if plan.provider == "simulator" else output / _TOKENS_A_SECOND


def _refills(plan: Plan, status: DatasetStatus) -> tuple[float, float, float]:
    """Draws for each conversation that is wanted: low, expected, high; by what was accepted of what was judged so far."""
    accepted = status.counts[Status.ACCEPTED]
    judged = accepted + status.counts[Status.NEEDS_REVISION] + status.counts[Status.DROPPED]
    max_draws = plan.spec.max_draws
    if not judged:
        return 1.0, 1.0, _draws_each(1 - _REFUSED_AT_WORST, max_draws)
    share = (accepted + 1) / (judged + 1)
    off = _SURE * sqrt(share * (1 - share) / judged) + 1 / (judged + 1)
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
