"""What one draw of each template is expected to need, in tokens: low, expected and high.

Output goes by what the ledger remembers of the model's answers to each template, else by what the template asks for; input by a
count of the API's, else by the past, else by letters. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import sqrt

from convoforge.dataset.draw_costs import DrawTokens
from convoforge.ledger.history import Made
from convoforge.models import Prompt
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.openings import LONGEST
from convoforge.planning.plan import Cell, Plan, expected_usage, kept_text
from convoforge.planning.templates import Target

SAMPLE = 8
"""Number of prompts of each template that are measured: they are spread evenly over every axis."""

_DIALOGUE = 0.875  # of the characters that a token of plain text has: the quotes and escapes of JSON
_CHARACTERS_A_TURN = 40  # the JSON around it
_TOKENS_A_SECOND = 70  # what a model writes, where nothing was measured yet
_THOUGHT = (0.5, 1.0, 2.0)  # how much of the thinking that is expected: low, expected, high
_SPREAD = 0.5  # of one answer's length, where there is but one
SURE = 2.0
"""Standard deviations: 19 of 20."""


def pick_samples(plan: Plan) -> dict[str, list[Prompt]]:
    """A few prompts of each template, spread over the axes, as long as they can get."""
    avoid = LONGEST if plan.spec.generation.avoid_repeats else ""
    found: dict[str, list[Cell]] = {}
    for cell in plan.cells:
        some = found.setdefault(cell.template, [])
        if len(some) < SAMPLE:
            some.append(cell)
    return {template: [replace(plan.prompt(cell, 0), avoid=avoid) for cell in cells] for template, cells in found.items()}


def expect_draws(plan: Plan, history: Mapping[str, Made], counted: Mapping[str, float] | None) -> dict[str, DrawTokens]:
    """What one draw of each template needs. What some templates' answers were like is expected of the others, too."""
    prompts = pick_samples(plan)
    letters = {
        name: sum(expected_usage(prompt, plan.facts).input_tokens for prompt in some) / len(some)
        for name, some in prompts.items()
    }
    count = plan.spec.generation.candidates
    targets = {name: target_tokens(plan.library.template(name).target, plan.facts, count) for name in prompts}
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
    off = SURE * made.spread * sqrt(1 / made.answers + 1 / max(1, plan.planned))
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


def target_tokens(target: Target, facts: ModelFacts, candidates: int = 1) -> tuple[float, float, float]:
    """The output tokens of what a template asks for, so many times: the least, the middle, the most."""

    def tokens(turns: float, characters: float) -> float:
        return candidates * turns * (characters + _CHARACTERS_A_TURN * _DIALOGUE) / (facts.characters_a_token * _DIALOGUE)

    (fewest, most), (shortest, longest) = target.turns, target.characters
    return (
        tokens(fewest, shortest),
        tokens((fewest + most) / 2, (shortest + longest) / 2),
        tokens(most, longest),
    )


def _unmeasured(plan: Plan, output: float) -> float:
    return 0.0 if plan.provider == "simulator" else output / _TOKENS_A_SECOND
