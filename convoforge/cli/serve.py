"""`convoforge serve`: the HTTP API in the foreground, until it is told to stop; then it drains."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from convoforge.api.access import is_loopback
from convoforge.api.app import make_app
from convoforge.api.connections import QUIET_SECONDS, Deadlines, http_protocol, most_connections
from convoforge.cli import DONE
from convoforge.cli.console import out
from convoforge.errors import ConfigError
from convoforge.generation.generator import MAX_IN_FLIGHT
from convoforge.generation.requests import DEFAULT_MODEL, default_spec
from convoforge.logs import set_up_logs
from convoforge.planning.spec import DatasetSpec, change_spec
from convoforge.settings import Settings

BACKLOG = 2_048
"""Connections that the system keeps until they are accepted."""

ACCEPT_AT_ONCE = 32
"""Connections accepted before the first of them is looked at, and perhaps turned away: no more descriptors than that are used beyond
the bound."""

_LOG = logging.getLogger(__name__)


def run_serve(
    *,
    host: str,
    port: int,
    simulate: bool,
    model: str | None,
    max_requests: int,
    window_seconds: float,
    pause_threshold: float,
    queue: bool,
    max_wait: float,
    caching: bool,
    max_connections: int,
    allowed_hosts: Collection[str],
    token_file: Path | None,
    day_budget: Decimal | None,
) -> int:
    """Serve the API. Raises `ConfigError` where it cannot listen, and what `open_generator` raises."""
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
    with _listen(host, port) as listener:
        address = listener.getsockname()[0]
        if not settings.tokens and not is_loopback(address):
            raise ConfigError(
                f"{host} can be reached by others: set CONVOFORGE_API_TOKEN or --token-file, so that only who has a token spends money"
            )
        app = make_app(settings, spec=spec, simulate=simulate, allowed_hosts=allowed_hosts)
        deadlines = Deadlines(connections=most_connections(max_connections, MAX_IN_FLIGHT))
        if deadlines.connections < max_connections:
            _LOG.warning("%d connections at once: the limit on open files (ulimit -n) allows no more", deadlines.connections)
        asyncio.run(_serve(app, spec, listener, deadlines, simulate=simulate))
    return DONE


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn raises them again when it has ended, before what was opened around it is closed."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listener.listen(BACKLOG)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _complain_once_in_a_while(loop: asyncio.AbstractEventLoop) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None]:
    """What the event loop complains of goes to the log, and the same complaint not again for a while: it may come a thousand times a
    second where descriptors are used up."""
    said: dict[str, float] = {}

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        words, now = str(context["message"]), loop.time()
        if now - said.get(words, -QUIET_SECONDS) >= QUIET_SECONDS:
            said[words] = now
            _LOG.error("%s", words, exc_info=context.get("exception"))

    return complain


async def _serve(app: FastAPI, spec: DatasetSpec, listener: socket.socket, deadlines: Deadlines, *, simulate: bool) -> None:
    grace = round(spec.retry.timeout_seconds) + 10
    config = uvicorn.Config(
        app,
        lifespan="off",
        timeout_graceful_shutdown=grace,
        http=http_protocol(deadlines),
        ws="none",
        log_config=None,
        backlog=ACCEPT_AT_ONCE,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(config, listener)
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_complain_once_in_a_while(loop))
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
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        why = str(getattr(error, "strerror", error)).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}, port {port} ({why}): choose others with --host and --port") from None
