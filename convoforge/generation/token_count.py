"""Counts the tokens of a plan's prompts with the API: free, and exact, unlike an estimate from characters."""

from __future__ import annotations

import asyncio

from convoforge.claude.retry import Policy
from convoforge.dataset.expected_draws import pick_samples
from convoforge.generation.endpoint import check_provider, open_client
from convoforge.models import Prompt
from convoforge.planning.plan import Plan
from convoforge.settings import Settings

AT_ONCE = 4


def count_prompts(plan: Plan, settings: Settings, seconds: float | None = None) -> dict[str, float]:
    """Mean number of input tokens of each template's prompts, from a few samples. Raises a `ClaudeAPIError` or `ConfigError`, and
    `TimeoutError` after `seconds`."""
    return asyncio.run(asyncio.wait_for(_count(plan, settings), seconds))


async def _count(plan: Plan, settings: Settings) -> dict[str, float]:
    spec, slots, policy = plan.spec, asyncio.Semaphore(AT_ONCE), Policy(plan.spec.retry)
    async with open_client(settings, spec, simulate=plan.provider == "simulator") as claude:

        async def one(prompt: Prompt) -> int:
            async def count() -> int:
                async with slots:
                    return await claude.count_tokens(prompt, spec.generation)

            return await policy.run(count)

        await check_provider(claude, plan.provider, policy)
        return {
            name: sum(counts) / len(counts)
            for name, prompts in pick_samples(plan).items()
            if (counts := await asyncio.gather(*map(one, prompts)))
        }
