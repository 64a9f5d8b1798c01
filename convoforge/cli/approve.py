"""`convoforge approve`: a yes, or a no, to a run that waits because its estimate is above `approve_above_usd`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from convoforge.cli.console import errors, out, print_json
from convoforge.cli.local_server import open_server
from convoforge.cli.parameters import DONE, AsJson
from convoforge.orchestration.server_home import AUTH
from convoforge.orchestration.steering import PrefectServer, find_waiting, list_waiting, steer


def approve(
    run: Annotated[str | None, Parameter(help="A run's name or id, or how it begins. Without it: list the runs.")] = None,
    /,
    *,
    decline: Annotated[bool, Parameter(negative="", help="End the run instead; it has spent nothing.")] = False,
    as_json: AsJson = False,
) -> int:
    """List the runs that wait for approval, or approve one: it goes on as soon as a worker takes it."""
    with open_server(lambda: errors.print("[dim]Starting the local Prefect server …[/dim]")) as opened:
        server = PrefectServer(opened.url, os.environ.get(AUTH))
        waiting = list_waiting(server)
        chosen = None if run is None else find_waiting(waiting, run)
        if chosen is not None:
            steer(server, chosen.id, "decline" if decline else "approve")
    if chosen is not None:
        word = "declined" if decline else "approved"
        if as_json:
            print_json({**asdict(chosen), "decision": word})
        else:
            out.print(f"{word}: {chosen.name} ({chosen.id})\n{chosen.question}", markup=False)
        return DONE
    if as_json:
        print_json({"waiting": [asdict(one) for one in waiting], "server": server.url})
        return DONE
    for one in waiting:
        out.print(f"{one.id[:8]}  {one.name}\n          {one.question}", markup=False)
    out.print("\nOne of them goes on with: convoforge approve RUN" if waiting else "No run waits for approval.")
    return DONE
