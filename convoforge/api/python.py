"""The Python API: the seed's `ConversationGenerator`, for asynchronous and for synchronous code.

Both open ledger, API client and rate limiter at the first call. The rate limit is shared with other processes, through Prefect if
`PREFECT_API_URL` is set, else through the ledger.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import UTC, date, datetime, time
from decimal import Decimal
from types import TracebackType
from typing import Any, Self, TypeVar

from pydantic import ConfigDict
from pydantic.alias_generators import to_camel

from convoforge.costs.summary import CostSummary
from convoforge.costs.summary import cost_summary as read_costs
from convoforge.errors import ConfigError
from convoforge.generation import requests
from convoforge.generation.run import OpenLimiter
from convoforge.ledger import Ledger
from convoforge.models import ConversationRequest, Frozen, Outcome, Usage
from convoforge.orchestration.server_home import prepare_client
from convoforge.planning.config_files import check
from convoforge.planning.spec import DatasetSpec, change_spec
from convoforge.pricing import cost_pico, price_of, usd
from convoforge.rate import LimiterStatus
from convoforge.settings import Settings

T = TypeVar("T")

SEED_MODEL = "claude-3-5-sonnet-20241022"
"""The model whose price the guide uses. It is retired."""

_NAMES = {"templateId": "template", "template_id": "template", "maxTokens": "max_tokens"}


class RateLimitConfig(Frozen):
    """The guide's rate limit: at most `max_requests` in any `window_ms` (milliseconds), paused once the share `pause_threshold`
    of them is used. Without `enable_queue`, a request above the limit raises `RateLimitError`.

    Names are accepted in snake_case and, in a mapping, in the guide's camelCase.
    """

    model_config = ConfigDict(alias_generator=to_camel, validate_by_name=True, validate_by_alias=True)

    window_ms: int = 60_000
    max_requests: int = 50
    enable_queue: bool = True
    pause_threshold: float = 0.9


RequestLike = ConversationRequest | Mapping[str, Any]
"""A request, or a mapping with its fields; the guide's `templateId` and `maxTokens` are accepted."""


class ConversationGenerator:
    """Generates one conversation, or up to 100 at once, within the rate limit. Records every call and its cost in the ledger.

    ``async with ConversationGenerator() as generator: await generator.generate_single(request)``; without `with`, it opens at the
    first call, and `aclose` closes it. It belongs to the event loop that opened it. `rate_limit_config` may be a mapping with the
    guide's names; `config` is the guide's whole configuration, ``{"rateLimitConfig": {…}}``. Alternatively, `spec` has model,
    limits, retries and budget. Raises `ConfigError` if arguments exclude each other, or for an invalid value.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        rate_limit_config: RateLimitConfig | Mapping[str, Any] | None = None,
        model: str | None = None,
        simulate: bool = False,
        settings: Settings | None = None,
        spec: DatasetSpec | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self._simulate = simulate
        self._spec = _read_spec(_read_config(config, rate_limit_config), model, spec, self._settings)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._context: AbstractAsyncContextManager[requests.RequestGenerator] | None = None
        self._opened: requests.RequestGenerator | None = None

    async def generate_single(self, request: RequestLike) -> Outcome:
        """Generate one conversation, with quality, usage and cost in US dollars.

        Raises `ConfigError` before anything is paid (unknown template, wrong parameter), and the guide's errors if there is no
        conversation: `ClaudeAPIError`, `RateLimitError`, `ParseError`, `GenerationValidationError`; also `LedgerError`,
        `BudgetExceeded`.
        """
        outcome = await (await self._open()).generate(read_request(request))
        if outcome.error is not None and outcome.conversation is None:
            raise outcome.error
        return outcome

    async def generate_batch(
        self, requests: Sequence[RequestLike], *, concurrency: int = 3, stop_on_error: bool = False
    ) -> list[Outcome | None]:
        """Generate 1 to 100 requests, `concurrency` at a time, and return their outcomes in order. The outcome of a failed
        request has an `error`; None stands for a request skipped because of `stop_on_error`. Raises `ConfigError` for invalid
        requests."""
        read = [read_request(request) for request in requests]
        return await (await self._open()).generate_batch(read, concurrency=concurrency, stop_on_error=stop_on_error)

    async def rate_limit_status(self) -> LimiterStatus:
        """Current use of the rate limit: used, remaining, reset_at, queue_length, is_paused."""
        return (await self._open()).status()

    async def cost_summary(self, from_: date | None = None, to: date | None = None) -> CostSummary:
        """The costs from `from_` up to `to`: `total_cost_usd`, `cost_per_request_usd` and more. See `cost_summary`."""
        return await asyncio.to_thread(cost_summary, from_, to, settings=self._settings, simulate=self._simulate)

    def calculate_cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The cost of these tokens with this generator's model, in US dollars."""
        return calculate_cost(input_tokens, output_tokens, model=self._spec.model)

    async def aclose(self) -> None:
        """Wait for the calls in flight, which are paid, and close everything."""
        context, self._context, self._opened = self._context, None, None
        if context is not None:
            await context.__aexit__(None, None, None)

    async def __aenter__(self) -> Self:
        await self._open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def _open(self) -> requests.RequestGenerator:
        loop = asyncio.get_running_loop()
        if self._loop is not None and self._loop is not loop and self._opened is not None:
            raise ConfigError(
                "this ConversationGenerator belongs to another event loop: make one for each, or use SyncConversationGenerator"
            )
        if self._loop is not loop:
            self._loop, self._opening = loop, asyncio.Lock()
        assert self._opening is not None
        async with self._opening:
            if self._opened is None:
                context = requests.open_generator(
                    settings=self._settings, simulate=self._simulate, spec=self._spec, open_limiter=choose_limiter()
                )
                self._opened = await context.__aenter__()
                self._context = context
            return self._opened


class SyncConversationGenerator:
    """`ConversationGenerator` for code without an event loop: same arguments, blocking methods. Any thread may call it.

    ``with SyncConversationGenerator() as generator: generator.generate_single(request)``; without `with`, `close` closes it.
    """

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        rate_limit_config: RateLimitConfig | Mapping[str, Any] | None = None,
        model: str | None = None,
        simulate: bool = False,
        settings: Settings | None = None,
        spec: DatasetSpec | None = None,
    ) -> None:
        self._generator = ConversationGenerator(
            config, rate_limit_config=rate_limit_config, model=model, simulate=simulate, settings=settings, spec=spec
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="convoforge", daemon=True)
        self._thread.start()

    def generate_single(self, request: RequestLike) -> Outcome:
        """See `ConversationGenerator.generate_single`."""
        return self._run(self._generator.generate_single(request))

    def generate_batch(
        self, requests: Sequence[RequestLike], *, concurrency: int = 3, stop_on_error: bool = False
    ) -> list[Outcome | None]:
        """See `ConversationGenerator.generate_batch`."""
        return self._run(self._generator.generate_batch(requests, concurrency=concurrency, stop_on_error=stop_on_error))

    def rate_limit_status(self) -> LimiterStatus:
        """See `ConversationGenerator.rate_limit_status`."""
        return self._run(self._generator.rate_limit_status())

    def cost_summary(self, from_: date | None = None, to: date | None = None) -> CostSummary:
        """See `cost_summary`."""
        return self._run(self._generator.cost_summary(from_, to))

    def calculate_cost(self, input_tokens: int, output_tokens: int) -> Decimal:
        """The cost of these tokens with this generator's model, in US dollars."""
        return self._generator.calculate_cost(input_tokens, output_tokens)

    def close(self) -> None:
        """Wait for the calls in flight, which are paid, and close everything. A second call does nothing."""
        if self._loop.is_closed():
            return
        try:
            self._run(self._generator.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise ConfigError("this SyncConversationGenerator is closed: make a new one")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # after Ctrl-C nobody waits; a call already sent continues and is recorded
            raise


def cost_summary(
    from_: date | None = None, to: date | None = None, *, settings: Settings | None = None, simulate: bool = False
) -> CostSummary:
    """The costs from `from_` (inclusive) up to `to` (exclusive), in UTC: total, per request, per conversation, waste. A date
    means its first moment, a time without a zone is UTC, None sets no bound. `simulate`: what simulated calls would have cost.

    Raises `ConfigError` if `from_` is not before `to`, and `LedgerError`.
    """
    start, end = _moment(from_), _moment(to)
    if start and end and start >= end:
        raise ConfigError(f"from_ {from_} is not before to {to}")
    with Ledger((settings or Settings()).database_url) as ledger:
        return ledger.read(read_costs, start, end, provider="simulator" if simulate else "anthropic")


def calculate_cost(input_tokens: int, output_tokens: int, *, model: str = SEED_MODEL) -> Decimal:
    """The exact cost of these tokens in US dollars, by default with the guide's model: 1,500 in and 2,000 out cost $0.0345.

    Raises `ConfigError` for a model without a known price, or a negative number of tokens.
    """
    if min(input_tokens, output_tokens) < 0:
        raise ConfigError(f"{min(input_tokens, output_tokens)} tokens: give 0 or more")
    return usd(cost_pico(Usage(input_tokens=input_tokens, output_tokens=output_tokens), price_of(model)))


def choose_limiter() -> OpenLimiter | None:
    """Choose how processes share the rate limit: through Prefect if `PREFECT_API_URL` is set, else (None) the ledger."""
    if not os.environ.get("PREFECT_API_URL"):
        return None
    prepare_client()
    from convoforge.orchestration.rate_limiter import prefect_limiter  # Prefect takes 1.5 s to import

    return prefect_limiter(logging.getLogger(__name__))


def read_request(request: RequestLike) -> ConversationRequest:
    """Read a request from a mapping. Raises `ConfigError` that names the invalid field."""
    if isinstance(request, ConversationRequest):
        return request
    return check(ConversationRequest, {_NAMES.get(name, name): value for name, value in request.items()}, "request: ")


def _read_config(config: Mapping[str, Any] | None, rate: RateLimitConfig | Mapping[str, Any] | None) -> RateLimitConfig | None:
    given = dict(config or {})
    for name in ("rateLimitConfig", "rate_limit_config"):
        if name in given:
            if rate is not None:
                raise ConfigError(f"{name} is given twice: leave out one of them")
            rate = given.pop(name)
    if given:
        raise ConfigError(f"unknown configuration '{next(iter(given))}'. Known: rateLimitConfig")
    if rate is None or isinstance(rate, RateLimitConfig):
        return rate
    return check(RateLimitConfig, rate, "rateLimitConfig: ")


def _read_spec(rate: RateLimitConfig | None, model: str | None, spec: DatasetSpec | None, settings: Settings) -> DatasetSpec:
    if spec is not None:
        if rate is not None or model is not None:
            raise ConfigError("spec already says model and limits: leave out `model` and `rate_limit_config`, or `spec`")
        return spec
    base = requests.default_spec(model or settings.model or requests.DEFAULT_MODEL)
    if rate is None:
        return base
    limits = {
        "max_requests": rate.max_requests,
        "window_seconds": rate.window_ms / 1000,
        "queue": rate.enable_queue,
        "pause_threshold": rate.pause_threshold,
    }
    return change_spec(base, limits=limits)


def _moment(given: date | None) -> datetime | None:
    if given is None:
        return None
    moment = given if isinstance(given, datetime) else datetime.combine(given, time())
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
