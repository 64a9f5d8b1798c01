"""The Prefect server as commands use it: what it said of its own faults meanwhile, and that it goes on for a while, are told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.markup import escape

from convoforge.cli.console import errors
from convoforge.errors import span
from convoforge.orchestration.local_server import use_server
from convoforge.orchestration.server_home import Server, auth_path, log_path, prefect_home, read_idle_seconds
from convoforge.orchestration.server_log import measure_log, summarize_errors


@contextmanager
def open_server(starting: Callable[[], None], meanwhile: Callable[[], None] = lambda: None) -> Iterator[Server]:
    """A Prefect server, found or started, for as long as a command needs it; see `use_server`. Raises as that does, and `ConfigError`."""
    home, idle_seconds = prefect_home(), read_idle_seconds()
    log_start = measure_log(log_path(home))
    server = None
    try:
        with use_server(starting, meanwhile=meanwhile, idle_seconds=idle_seconds) as server:
            yield server
    finally:
        if trouble := summarize_errors(log_path(home), log_start):
            errors.print(f"[yellow]{escape(trouble)}[/yellow]")
        if server is not None and server.idle_seconds:
            errors.print(
                f"[dim]The local Prefect server stays {span(server.idle_seconds)} for the next build: "
                f"{server.url.removesuffix('/api')} (password in {escape(str(auth_path(home)))}). "
                "To stop it now: convoforge doctor --stop-server[/dim]"
            )
