"""The name of a run in Prefect: what it does, unless somebody has named it. And its tags, wherever it was started."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

import coolname.data  # what Prefect's server names runs with
from prefect.client.orchestration import get_client
from prefect.logging import get_run_logger
from prefect.runtime import flow_run

TAG = "convoforge"
"""Tag of all runs."""

_GREEK = (
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi|psi|omega"
)
_PRODUCT = (
    "Awesome|Rustic|Small|Gorgeous|Fantastic|Sleek|Intelligent|Unbranded"
    "|Refined|Licensed|Generic|Practical|Ergonomic|Handcrafted|Tasty|Handmade|Incredible"
)
_OF_THE_FORM = re.compile(rf"({_GREEK})\d+(-[a-z]+)+|({_PRODUCT})-[A-Z].*")
"""What the forms of Prefect's two UIs fill in for a name: a Greek letter and a star, such as `theta4-lyrae-cluster`, where one of nine has
no number and is taken for somebody's own, as `beta-test` is; or a product and an animal, such as `Refined-Shark`."""


async def present_run(name: str, *tags: str, instead_of: str = "") -> None:
    """Name and tag the run of this flow. A name that somebody has given it stays, unless it is `instead_of`. For people only: nothing
    depends on it."""
    if not flow_run.id:
        return
    try:
        async with get_client() as client:
            run = await client.read_flow_run(UUID(str(flow_run.id)))
            wanted = name if is_made_up(run.name) or run.name == instead_of else run.name
            await client.update_flow_run(run.id, name=wanted, tags=sorted({*run.tags, TAG, *tags}))
    except Exception as error:  # noqa: BLE001 - a run needs no name
        get_run_logger().debug("the run keeps its name: %s", error)


def named_after(parameter: str) -> Callable[[], str]:
    """The `flow_run_name` of a flow that is not async: the value of a parameter, unless somebody has given the run a name."""

    def name() -> str:
        return str(flow_run.parameters[parameter]) if is_made_up(str(flow_run.name)) else str(flow_run.name)

    return name


def is_made_up(name: str) -> bool:
    """Whether Prefect has made a name up, its server or its form: one that somebody has typed is kept."""
    words = name.split("-")
    return bool(_OF_THE_FORM.fullmatch(name)) or (len(words) > 1 and all(word in _list_words() for word in words))


@cache
def _list_words() -> frozenset[str]:
    lists: Mapping[str, Any] = coolname.data.config
    return frozenset(word for one in lists.values() if one["type"] == "words" for word in one["words"])
