"""What a judge is expected to need, before it is asked: low, expected and high, at once or in batches. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from convoforge.dataset.draw_costs import DrawTokens, Range, sum_costs
from convoforge.errors import format_count
from convoforge.ledger.history import Made
from convoforge.models import Conversation
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.plan import PROMPT_OVERHEAD_TOKENS, Plan, kept_text
from convoforge.planning.spec import judge_spec, price_judge
from convoforge.scoring import Judge, ScoringContext

_TOKENS_A_CRITERION = (50.0, 70.0, 110.0)  # quote, reason, points and their JSON, where nothing was measured yet
_SPREAD = (0.9, 1.0, 1.15)  # of what was measured


@dataclass(frozen=True, slots=True)
class JudgeEstimate:
    """`requests` go to `model`, with `input_tokens` and `output_tokens` in all; `batch` is the price in batches, None where the model has
    none."""

    model: str
    requests: int
    input_tokens: int
    output_tokens: int
    online: Range
    batch: Range | None

    def cost(self, mode: str) -> Range:
        """What it costs in a mode."""
        return self.batch if mode == "batch" and self.batch else self.online

    def describe(self, mode: str) -> str:
        """The estimate as a line."""
        tokens = f"{self.input_tokens:,} tokens in and {self.output_tokens:,} out"
        return f"{format_count(self.requests, 'conversation')} with {self.model}, {tokens}, {self.cost(mode)}"

    def as_json(self, mode: str) -> dict[str, Any]:
        """Plain values, money as strings, in a mode."""
        cost = self.cost(mode)
        return {
            "model": self.model,
            "requests_expected": self.requests,
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "estimated_cost_usd": f"{cost.expected:.6f}",
            "estimated_low_usd": f"{cost.low:.6f}",
            "estimated_high_usd": f"{cost.high:.6f}",
        }


def estimate_judge(
    plan: Plan, counts: Mapping[str, Sequence[float]], written: Mapping[str, float], history: Mapping[str, Made]
) -> JudgeEstimate | None:
    """The estimate for judging so many conversations of each template (low, expected, high), which have about as many tokens as are
    `written`. None where the spec has no judge. Raises `ConfigError` for a model without a price."""
    choice = plan.spec.quality.judge
    if choice is None:
        return None
    judge = Judge.of(choice, plan.library.folder)
    tokens = {name: _needs(plan, judge, name, written[name], history.get(name)) for name in counts}
    spec = judge_spec(plan.spec, judge.max_tokens)

    def add(*, batch: bool) -> Range:
        return sum_costs(tokens, counts, price_judge(spec, batch=batch), batch=batch)

    return JudgeEstimate(
        model=judge.model,
        requests=ceil(sum(count[1] for count in counts.values()) - 1e-9),
        input_tokens=round(sum(count[1] * tokens[name].prompt for name, count in counts.items())),
        output_tokens=round(sum(count[1] * tokens[name].output[1] for name, count in counts.items())),
        online=add(batch=False),
        batch=add(batch=True) if plan.spec.mode == "batch" or snapshot_facts(spec.model).batch else None,
    )


def _needs(plan: Plan, judge: Judge, template: str, written: float, made: Made | None) -> DrawTokens:
    """What it takes to judge one conversation of a template: by what it took before, else by letters."""
    facts, cell = snapshot_facts(judge.model), next(cell for cell in plan.cells if cell.template == template)
    settings = judge_spec(plan.spec, judge.max_tokens).generation
    prompt = judge.write_prompt(
        Conversation(()),
        ScoringContext.of(plan.spec.name, cell, plan.spec.parameters),
        plan.library.persona(cell.persona),
        plan.prompt(cell, 0),
        structured=facts.uses_schema(settings),
    )
    text = kept_text(prompt, facts, settings)
    shared = len(text) / facts.characters_a_token if text else 0.0
    if made is not None:
        low, mean, high = (made.output_tokens * share for share in _SPREAD)
        return DrawTokens(
            made.prompt_tokens, min(shared, made.prompt_tokens), (low, mean, high), made.seconds, made.answers, measured=True
        )
    said = (len(prompt.system) + len(prompt.user)) / facts.characters_a_token + PROMPT_OVERHEAD_TOKENS
    tokens = said + written * plan.facts.characters_a_token / facts.characters_a_token
    low, mean, high = (len(judge.rubric.criteria) * each for each in _TOKENS_A_CRITERION)
    return DrawTokens(tokens, shared, (low, mean, high), 0.0, 0, measured=False)
