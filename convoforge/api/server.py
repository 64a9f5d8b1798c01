"""The HTTP server in the foreground: listens, serves until a signal, then drains."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI

from convoforge.api.connections import Complaints, Deadlines, http_protocol, most_connections
from convoforge.errors import ConfigError
from convoforge.generation.generator import MAX_IN_FLIGHT

BACKLOG = 2_048
"""Maximum number of connections that the system queues until they are accepted."""

ACCEPT_AT_ONCE = 32
"""Number of connections accepted before the first one is checked against the maximum, and so the number of descriptors that may
be used above it."""

_LOG = logging.getLogger(__name__)


def listen(host: str, port: int) -> socket.socket:
    """Open a socket that listens at an address. Raises `ConfigError` if it cannot."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        why = str(getattr(error, "strerror", error)).partition(" (")[0]
        raise ConfigError(f"cannot listen on {host}, port {port} ({why}): choose others with --host and --port") from None


async def serve_app(
    app: FastAPI, listener: socket.socket, *, max_connections: int, grace_seconds: float, announce: Callable[[str], None]
) -> None:
    """Serve until SIGINT or SIGTERM, then let requests in progress finish for up to `grace_seconds`. `announce` is called with
    the server's URL once it is ready. Raises what the application raises when it starts."""
    deadlines = Deadlines(connections=most_connections(max_connections, MAX_IN_FLIGHT))
    if deadlines.connections < max_connections:
        _LOG.warning("%d connections at once: the limit on open files (ulimit -n) allows no more", deadlines.connections)
    config = uvicorn.Config(
        app,
        lifespan="off",
        timeout_graceful_shutdown=round(grace_seconds),
        http=http_protocol(deadlines),
        ws="none",
        log_config=None,
        backlog=ACCEPT_AT_ONCE,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(config, listener)
    loop = asyncio.get_running_loop()
    complaints = Complaints()

    def complain(_loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        complaints.add(str(context["message"]), loop.time(), logging.ERROR, context.get("exception"))

    loop.set_exception_handler(complain)
    signals = (signal.SIGINT, signal.SIGTERM)

    def stop() -> None:
        if app.state.generator is not None:
            app.state.generator.stop("the server is stopping")
        app.state.viewer.feed.stop()
        server.should_exit = True
        for number in signals:  # a second signal ends the process at once
            loop.remove_signal_handler(number)

    # Entered here and not by uvicorn, which would print a traceback if the start fails; our error is one line.
    async with app.router.lifespan_context(app):
        for number in signals:
            loop.add_signal_handler(number, stop)
        host, port = listener.getsockname()[:2]
        announce(f"http://{f'[{host}]' if ':' in host else host}:{port}")
        await server.serve(sockets=[listener])


class _Server(uvicorn.Server):
    """Leaves signals to us: uvicorn would raise them again when it ends, before the resources opened around it are closed."""

    def __init__(self, config: uvicorn.Config, listener: socket.socket) -> None:
        super().__init__(config)
        self._listener = listener

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._listener.listen(BACKLOG)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
