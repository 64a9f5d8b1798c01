"""Who answers, and where: the real API or a simulator, never one taken for the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from convoforge.claude import Claude, is_loopback
from convoforge.errors import DoomError, TransientError
from convoforge.gate import Limits
from convoforge.models import Provider
from convoforge.retry import Policy
from convoforge.settings import Settings
from convoforge.simulator.launch import simulator_process
from convoforge.spec import DatasetSpec, RateLimits


@contextmanager
def api_address(settings: Settings, *, simulate: bool) -> Iterator[str]:
    """Where requests go. For a simulation: a simulator of our own, unless a local address is named already."""
    if not simulate or is_loopback(settings.api_root):
        yield settings.api_root
    else:
        with simulator_process() as url:
            yield url


async def check_provider(claude: Claude, expected: Provider, policy: Policy) -> None:
    """Ask the API, at no cost, whether it would answer. Raises `DoomError` with what to do about it."""

    async def check() -> Provider:
        try:
            return await claude.check()
        except TransientError as error:
            if error.kind == "unreachable":  # a wrong address is far likelier than a server that starts right now
                raise DoomError(f"{error}. Check ANTHROPIC_BASE_URL", kind=error.kind) from None
            raise

    found = await policy.run(check)
    if found != expected:
        raise DoomError(wrong_provider(found, expected), kind="provider")


def gate_limits(limits: RateLimits) -> Limits:
    """A spec's limits as the gate takes them."""
    return Limits(**limits.model_dump(exclude={"concurrency"}))


def gate_label(spec: DatasetSpec, base_url: str, provider: Provider) -> str:
    """What shared limits are named after. Nobody tunes a simulator's by hand, so new numbers in a spec are new limits."""
    if provider != "simulator":
        return base_url
    limits = spec.limits
    numbers = [f"{limits.max_requests}-per-{limits.window_seconds:g}s", f"{limits.pause_threshold:g}"]
    numbers += [str(tokens) for tokens in (limits.input_tokens, limits.output_tokens) if tokens]
    return "-".join(["simulator", spec.name, *numbers])


def wrong_provider(found: Provider, expected: Provider) -> str:
    """What to say where the real API was meant and a simulator answers, or the other way round."""
    if found == "simulator":
        return "a simulator answers at ANTHROPIC_BASE_URL, but a real build was asked for: use --simulate, or unset ANTHROPIC_BASE_URL"
    return f"--simulate was asked for, but the answer is signed by no simulator (expected {expected}): nothing more is sent"
