"""`convoforge serve`: the HTTP API in the foreground, until it is told to stop; then it drains."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import uvicorn
from fastapi import FastAPI

from convoforge.adhoc import DEFAULT_MODEL, default_spec
from convoforge.api.app import make_app
from convoforge.cli import DONE
from convoforge.cli.words import out
from convoforge.errors import ConfigError
from convoforge.settings import Settings
from convoforge.spec import DatasetSpec, change_spec


def run_serve(
    *,
    host: str,
    port: int,
    simulate: bool,
    model: str | None,
    max_requests: int,
    window_seconds: float,
    queue: bool,
    day_budget: Decimal | None,
) -> int:
    """Serve the API. Raises `ConfigError` where it cannot listen, and what `open_generator` raises."""
    settings = Settings()
    spec = change_spec(
        default_spec(model or settings.model or DEFAULT_MODEL),
        limits={"max_requests": max_requests, "window_seconds": window_seconds, "queue": queue},
        budget={"day_usd": day_budget},
    )
    with _listen(host, port) as listener:
        asyncio.run(_serve(make_app(settings, spec=spec, simulate=simulate), spec, listener, simulate=simulate))
    return DONE


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again when it has ended, before what was opened around it is closed."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _serve(app: FastAPI, spec: DatasetSpec, listener: socket.socket, *, simulate: bool) -> None:
    grace = round(spec.retry.timeout_seconds) + 10
    server = _Server(uvicorn.Config(app, lifespan="off", timeout_graceful_shutdown=grace))
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        app.state.generator.stop("the server is stopping")
        server.should_exit = True
        for number in signals:  # a second one ends it at once
            loop.remove_signal_handler(number)

    # Entered here and not by uvicorn, which would print a stack trace where we say in one line why it cannot start.
    async with app.router.lifespan_context(app):
        for number in signals:
            loop.add_signal_handler(number, stop)
        host, port = listener.getsockname()[:2]
        who = f"{spec.model}, simulated" if simulate else spec.model
        out.print(f"Listening on http://{f'[{host}]' if ':' in host else host}:{port} ({who}). Ctrl-C stops it.")
        await server.serve(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048)
    except (OSError, OverflowError) as error:
        why = str(getattr(error, "strerror", error)).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}, port {port} ({why}): choose others with --host and --port") from None
