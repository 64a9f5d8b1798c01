"""`convoforge limits`: what the API may be sent, in requests a minute, as all runs share it; and a change of it while they go on."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated, Any

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.console import errors, grid, out, print_json
from convoforge.cli.local_server import open_server
from convoforge.cli.parameters import DONE, AsJson
from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.orchestration.server_home import AUTH
from convoforge.orchestration.shared_limits import SharedLimit, change_limit, minute_numbers, read_limits, read_rate


def limits(
    which: Annotated[
        str, Parameter(help="Part of a model, an endpoint, a key's fingerprint or a kind, such as input-tokens.")
    ] = "",
    /,
    *,
    rate: Annotated[str | None, Parameter(name="--set", help="The new rate: 80/min, 2/s or 5000/h.")] = None,
    as_json: AsJson = False,
) -> int:
    """Print the limits that Prefect keeps for all runs together, or change one. A run that goes on follows within 5 seconds."""
    per_minute = None if rate is None else read_rate(rate)
    with open_server(lambda: errors.print("[dim]Starting the local Prefect server …[/dim]")) as server:
        auth = os.environ.get(AUTH)
        try:
            found = [one for one in read_limits(server.url, auth) if which in f"{one.model} {one.endpoint} {one.key} {one.kind}"]
            if per_minute is not None:
                found = [change_limit(server.url, auth, _only_one(found, which), per_minute)]
        except OSError as error:
            raise ConvoforgeError(f"the Prefect server at {server.url} does not answer: {error}") from error
    if as_json:
        print_json({"limits": [_describe(one) for one in found], "server": server.url})
        return DONE
    if not found:
        out.print(
            "No limits yet: the first build makes them, from `limits` in its spec." if not which else f"No limit has {which!r}."
        )
        return DONE
    for endpoint in dict.fromkeys(one.endpoint for one in found):
        out.print(f"[dim]{escape(endpoint)}[/dim]")
        own = (_line(one) for one in found if one.endpoint == endpoint)
        out.print(grid(["model", "key", "a minute", "at once", "in use now"], own, left=2))
    for one in found:
        if not one.active:
            out.print(f"[yellow]{one.model} {one.kind} is switched off in Prefect, so nothing is sent: switch it on.[/yellow]")
    slots, decay = minute_numbers(80, "requests")
    out.print(
        f"\n[dim]On Prefect's Concurrency page a request is 100 slots. For N requests a minute: limit 9.625 × N, at least 100, and "
        f"slot decay 1.5 × N a second. So 80 a minute are limit {slots}, slot decay {decay:g}; or: convoforge limits --set 80/min[/dim]"
    )
    return DONE


def _only_one(found: list[SharedLimit], which: str) -> SharedLimit:
    """The limit to change: of requests, where the words leave other kinds, too. Raises `ConfigError` where it is not one."""
    chosen = found if len(found) == 1 else [one for one in found if one.kind == "requests"]
    if len(chosen) == 1:
        return chosen[0]
    if not chosen:
        raise ConfigError(
            f"no limit has {which!r}" if which else "there is no limit yet: the first build makes it, from its spec"
        )
    names = "; ".join(f"{one.model} {one.endpoint} {one.key}" for one in chosen)
    raise ConfigError(f"{len(chosen)} limits could be meant ({names}): name one, as `convoforge limits {chosen[0].key} --set …`")


def _line(one: SharedLimit) -> list[str]:
    kind = one.kind.replace("-", " ")
    return [one.model, one.key, f"{one.per_minute:,.0f} {kind}", f"{one.burst:,.1f}", f"{_share(one):.0%}"]


def _share(one: SharedLimit) -> float:
    return min(1.0, one.in_use / one.limit)


def _describe(one: SharedLimit) -> dict[str, Any]:
    return {**asdict(one), "per_minute": round(one.per_minute, 3), "burst": round(one.burst, 3)}
