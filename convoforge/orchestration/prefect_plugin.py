"""Lets `prefect …` in the project's folder use the server of `make up`: its address and its auth string come from Prefect's home.

Prefect loads this where `prefect.toml` says so, when it is imported. What the environment says wins over it.
"""

from __future__ import annotations

import os

from prefect.plugins import HookContext, SetupResult, register_hook

from convoforge.orchestration.server_home import find_access


@register_hook
def setup_environment(*, ctx: HookContext) -> SetupResult | None:  # noqa: ARG001 - Prefect gives it by name
    """The environment variables that are missing; None where there are none."""
    found = find_access(os.environ)
    return SetupResult(env=found, note="the server of `make up`") if found else None
