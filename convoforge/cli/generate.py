"""`convoforge generate`: one conversation, printed."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter
from pydantic import ValidationError
from rich.markup import escape

from convoforge.cli.console import out, print_json, print_turns
from convoforge.cli.parameters import DONE, FAILED, AsJson, Positive, Simulate
from convoforge.cli.usage import name_fault
from convoforge.errors import ConfigError
from convoforge.models import ConversationRequest, Outcome
from convoforge.pricing import dollars
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.planning.templates import Template


def generate(
    *,
    persona: str,
    emotion: str,
    topic: str,
    template: Annotated[str, Parameter(help="A template in configs/templates.")] = "advice",
    tier: Annotated[str | None, Parameter(help="The tier; the template's first, if not given.")] = None,
    param: Annotated[
        list[str] | None, Parameter(help="A template parameter, as NAME=VALUE; may be repeated.", negative="")
    ] = None,
    model: str | None = None,
    max_tokens: Annotated[int | None, Positive] = None,
    temperature: Annotated[float | None, Parameter(help="Sent where the model takes it.")] = None,
    simulate: Simulate = False,
    yes: Annotated[bool, Parameter(name=["--yes", "-y"], negative="", help="Spend also where no terminal is.")] = False,
    as_json: AsJson = False,
) -> int:
    """Generate one conversation outside any dataset. At a terminal the command itself is the consent; without one, `--yes` is.

    Raises `ConfigError` for what cannot work.
    """
    from convoforge.api.python import choose_limiter
    from convoforge.generation.endpoint import check_account
    from convoforge.generation.requests import open_generator
    from convoforge.planning.templates import Library

    settings = Settings()
    chosen = Library.at(settings.config_dir).template(template)
    try:
        request = ConversationRequest(
            template=template,
            persona=persona,
            emotion=emotion,
            topic=topic,
            tier=tier or chosen.tiers[0],
            parameters=dict(_parameter(text, chosen) for text in param or []),
            max_tokens=max_tokens,
            temperature=temperature,
        )
    except ValidationError as error:
        raise ConfigError(name_fault(error.errors()[0])) from None

    chosen.check_tier(request.tier)
    check_account(settings, simulate=simulate)
    if not (simulate or yes or sys.stdin.isatty()):
        raise ConfigError("one conversation is paid for, and there is no terminal where somebody agreed to that: say --yes")

    async def run() -> Outcome:
        async with open_generator(settings=settings, model=model, simulate=simulate, open_limiter=choose_limiter()) as generator:
            return await generator.generate(request)

    outcome = asyncio.run(run())
    if as_json:
        print_json(outcome_json(outcome))
    else:
        _print(outcome, simulate=simulate)
    return DONE if outcome.conversation is not None else FAILED


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome as plain values; money as a string."""
    conversation, quality = outcome.conversation, outcome.quality
    return {
        "conversation_id": outcome.conversation_id,
        "status": outcome.status.value,
        "turns": [{"role": turn.role, "content": turn.content} for turn in conversation.turns] if conversation else None,
        "system": conversation.system if conversation else None,
        "quality": quality
        and {
            "score": quality.score,
            **{name: quality.points(name) for name in ("turns", "length", "structure")},
            "scorers": [asdict(one) for one in quality.results],
        },
        "reason": outcome.reason or None,
        "error": type(outcome.error).__name__ if outcome.error else None,
        "input_tokens": outcome.usage.input_tokens,
        "output_tokens": outcome.usage.output_tokens,
        "cost_usd": f"{outcome.cost_usd:f}",
        "attempts": outcome.attempts,
        "duration_ms": outcome.duration_ms,
        "provider": outcome.provider,
        "api_request_id": outcome.api_request_id,
    }


def _parameter(text: str, template: Template) -> tuple[str, Any]:
    name, found, value = text.partition("=")
    if not found:
        raise ConfigError(f"--param {text!r}: write NAME=VALUE")
    declared = template.parameters.get(name)
    allowed = declared.values if declared and declared.values else ()
    return name, next((one for one in allowed if str(one) == value), value)  # what the template declares has the type it declares


def _print(outcome: Outcome, *, simulate: bool) -> None:
    if outcome.conversation is None:
        out.print(f"[red]No conversation:[/red] {escape(outcome.reason)}")
    else:
        print_turns(outcome.conversation.turns)
    score = f"score {outcome.quality.score}, " if outcome.quality else ""
    paid = "simulated, nothing paid" if simulate else f"{dollars(outcome.cost_usd)}"
    out.print(f"\n[dim]{score}{outcome.usage.output_tokens} tokens, {outcome.duration_ms} ms, {paid}[/dim]")
