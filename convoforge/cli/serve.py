"""`convoforge serve`: the viewer and the HTTP API in the foreground, until a signal; then it drains."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from convoforge.cli.console import out
from convoforge.cli.parameters import DONE, AboveZero, Port, Positive, Share, Simulate
from convoforge.errors import ConfigError
from convoforge.logs import set_up_logs


def serve(
    *,
    host: Annotated[str, Parameter(help="Address to listen on; any but loopback needs a token.")] = "127.0.0.1",
    port: Port = 8000,
    allowed_host: Annotated[
        tuple[str, ...], Parameter(help="A name that callers know this server by, besides its own; may be repeated.")
    ] = (),
    token_file: Annotated[
        Path | None, Parameter(help="A file with the tokens that callers send, one a line; or set CONVOFORGE_API_TOKEN.")
    ] = None,
    simulate: Simulate = False,
    model: Annotated[str | None, Parameter(help="The model that writes; ANTHROPIC_MODEL, if not given.")] = None,
    max_requests: Annotated[int, Positive, Parameter(help="Requests to the API in any window, per key.")] = 50,
    window_seconds: Annotated[float, AboveZero, Parameter(help="Length of a window, in seconds.")] = 60,
    pause_threshold: Annotated[float, Share, Parameter(help="Share of the rate after which requests wait.")] = 0.9,
    queue: Annotated[bool, Parameter(help="Let requests wait for the rate, instead of refusing them with 429.")] = True,
    max_wait: Annotated[
        float,
        AboveZero,
        Parameter(help="Seconds that a request may wait for the rate; one that would wait longer is refused with 429."),
    ] = 300,
    caching: Annotated[bool, Parameter(help="Use the API's prompt cache: cheaper, but the first of many goes ahead.")] = True,
    max_connections: Annotated[int, Positive, Parameter(help="Maximum connections at once; more are answered with 503.")] = 2_000,
    day_budget: Annotated[Decimal | None, AboveZero, Parameter(help="Maximum spend in a UTC day, in US dollars.")] = None,
) -> int:
    """Serve the viewer and the API; without an API key the viewer alone.

    Raises `ConfigError` where it cannot listen, and what `open_generator` raises.
    """
    from convoforge.api.access import is_loopback
    from convoforge.api.app import make_app
    from convoforge.api.server import listen, serve_app
    from convoforge.api.tokens import read_tokens
    from convoforge.generation.requests import DEFAULT_MODEL, default_spec
    from convoforge.planning.spec import change_spec
    from convoforge.settings import Settings

    set_up_logs()
    settings = Settings()
    if token_file is not None:
        settings = settings.model_copy(update={"api_token_file": token_file.absolute()})
    spec = change_spec(
        default_spec(model or settings.model or DEFAULT_MODEL),
        generation={"caching": caching},
        limits={
            "max_requests": max_requests,
            "window_seconds": window_seconds,
            "pause_threshold": pause_threshold,
            "queue": queue,
            "max_wait_seconds": max_wait,
        },
        budget={"day_usd": day_budget},
    )
    with listen(host, port) as listener:
        if not read_tokens(settings) and not is_loopback(listener.getsockname()[0]):
            raise ConfigError(
                f"{host} can be reached by others: set CONVOFORGE_API_TOKEN or --token-file, so that only who has a token spends money"
            )
        app = make_app(settings, spec=spec, simulate=simulate, allowed_hosts=allowed_host)
        who = (
            f"{spec.model}, simulated"
            if simulate
            else spec.model
            if settings.accounts
            else "no API key: to look and review, not to generate"
        )
        serving = serve_app(
            app,
            listener,
            max_connections=max_connections,
            grace_seconds=spec.retry.timeout_seconds + 10,
            announce=lambda url: out.print(f"Listening on {url} ({who}). Ctrl-C stops it."),
        )
        asyncio.run(serving)
    return DONE
