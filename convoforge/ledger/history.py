"""Statistics of a model's past answers to a template, for estimates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt

from sqlalchemy import Connection, Float, cast, func, select

from convoforge.ledger.tables import IS_ATTEMPT_OF, answers, generation_logs
from convoforge.models import Provider, Purpose

_LATEST = 5_000
"""Maximum number of answers to read, newest first: prompts change, and reading a million would take seconds."""


@dataclass(frozen=True, slots=True)
class Made:
    """The answers to one template: their number, and their mean tokens and seconds. `prompt_tokens` is the whole input, cached or
    not; `spread` is the standard deviation of `output_tokens`, which include `thinking_tokens`; `cached_tokens` of the input were
    read from the cache."""

    answers: int
    prompt_tokens: float
    output_tokens: float
    spread: float
    seconds: float
    thinking_tokens: float = 0.0
    cached_tokens: float = 0.0


def read_history(
    connection: Connection,
    provider: Provider,
    model: str,
    templates: Sequence[str],
    purpose: Purpose = "conversation",
    candidates: int = 1,
) -> dict[str, Made]:
    """Statistics of a model's newest answers by template, without templates that have no answers. Of several `candidates`, of those that
    were asked for as many."""
    logs = generation_logs.c
    prompt = logs.input_tokens + logs.cache_read_tokens + logs.cache_write_5m_tokens + logs.cache_write_1h_tokens
    latest = (
        select(
            logs.model,
            logs.template,
            logs.latency_ms,
            logs.output_tokens,
            logs.thinking_tokens,
            logs.cache_read_tokens,
            prompt.label("prompt"),
        )
        .where(logs.provider == provider, logs.status == "succeeded", logs.purpose == purpose)
        .order_by(logs.started_at.desc())
        .limit(_LATEST)
    )
    if candidates > 1:
        latest = latest.join(answers, IS_ATTEMPT_OF).where(answers.c.drawn.contains(f'"candidates": {candidates},'))
    one = latest.subquery().c
    output = cast(one.output_tokens, Float)
    query = (
        select(
            one.template,
            func.count(),
            func.avg(cast(one.prompt, Float)),
            func.avg(output),
            func.avg(output * output),
            func.avg(cast(one.latency_ms, Float)),
            func.avg(cast(one.thinking_tokens, Float)),
            func.avg(cast(one.cache_read_tokens, Float)),
        )
        .where(one.model == model, one.template.in_(templates))
        .group_by(one.template)
    )
    return {
        template: Made(count, prompt, mean, sqrt(max(0.0, squares - mean * mean)), (latency or 0.0) / 1000, thought, cached)
        for template, count, prompt, mean, squares, latency, thought, cached in connection.execute(query)
    }
