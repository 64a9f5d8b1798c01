"""Where requests are sent: the real API or a simulator. One is never taken for the other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from importlib import import_module

from convoforge.claude import SIMULATOR_KEY, ModelClient, is_loopback
from convoforge.claude.retry import Policy
from convoforge.errors import ConfigError, FatalAPIError, TransientError
from convoforge.models import Provider
from convoforge.planning.spec import DatasetSpec, RateLimits
from convoforge.rate import Limits
from convoforge.settings import Settings
from convoforge.simulator.launch import simulator_process


@contextmanager
def api_address(settings: Settings, *, simulate: bool) -> Iterator[str]:
    """The URL that requests are sent to. For a simulation, starts a simulator unless the settings name a loopback address."""
    if not simulate or is_loopback(settings.api_root):
        yield settings.api_root
    else:
        with simulator_process() as url:
            yield url


def check_account(settings: Settings, *, simulate: bool) -> tuple[str, ...]:
    """The accounts for calls: API keys, or a cloud's name. Raises `ConfigError` if there is none."""
    accounts = (SIMULATOR_KEY,) if simulate else settings.accounts
    if not accounts:
        raise ConfigError("no API key: set ANTHROPIC_API_KEY, or try it without one: the option `simulate`")
    return accounts


@asynccontextmanager
async def open_client(
    settings: Settings, spec: DatasetSpec, *, simulate: bool, beside: ModelClient | None = None
) -> AsyncIterator[ModelClient]:
    """Open a client for a spec's model: to a simulator, Anthropic's API, or the cloud that `CONVOFORGE_API` names. Another
    vendor's client would be created here. `beside` is one for another model: both speak to the same simulator. Raises `ConfigError`
    for a missing setting or package."""
    accounts, api = check_account(settings, simulate=simulate), settings.api
    # with the SDK: late, so that a run has begun by then, and while a simulator comes up, which takes as long
    imported = asyncio.get_running_loop().run_in_executor(None, import_module, "convoforge.claude.client")
    with nullcontext(beside.base_url) if beside and simulate else api_address(settings, simulate=simulate) as address:
        own = simulate or api == "anthropic"
        claude = (await imported).Claude(
            accounts,
            address if own else None,
            spec.model,
            timeout_seconds=spec.retry.timeout_seconds,
            api="anthropic" if own else api,
        )
        try:
            yield claude
        finally:
            await claude.aclose()


async def check_provider(claude: ModelClient, expected: Provider, policy: Policy) -> None:
    """Check, at no cost, that the API accepts the key and knows the model. Raises `FatalAPIError` with what to do."""

    async def check() -> Provider:
        try:
            return await claude.check()
        except TransientError as error:
            if error.kind == "unreachable":  # a wrong address is far likelier than a server that starts right now
                raise FatalAPIError(f"{error}. Check ANTHROPIC_BASE_URL", kind=error.kind) from None
            raise

    found = await policy.run(check)
    if found != expected:
        raise FatalAPIError(wrong_provider(found, expected), kind="provider")


def read_limits(limits: RateLimits) -> Limits:
    """Convert a spec's limits into the rate limiter's."""
    return Limits(**limits.model_dump(exclude={"concurrency"}))


def limit_label(spec: DatasetSpec, base_url: str, provider: Provider) -> str:
    """The label in the names of shared limits. A simulator's limits are not edited by hand: new numbers make a new label."""
    if provider != "simulator":
        return base_url
    limits = spec.limits
    numbers = [f"{limits.max_requests}-per-{limits.window_seconds:g}s", f"{limits.pause_threshold:g}"]
    numbers += [str(tokens) for tokens in (limits.input_tokens, limits.output_tokens) if tokens]
    return "-".join(["simulator", spec.name, *numbers])


def wrong_provider(found: Provider, expected: Provider) -> str:
    """The message if a simulator answers instead of the real API, or the reverse."""
    if found == "simulator":
        return (
            "a simulator answers at ANTHROPIC_BASE_URL, but a real build was asked for: choose the option `simulate`, or unset "
            "ANTHROPIC_BASE_URL"
        )
    return (
        f"the option `simulate` was chosen, but the answer is signed by no simulator (expected {expected}): nothing more is sent"
    )
