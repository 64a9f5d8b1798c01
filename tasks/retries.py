"""How Prefect retries the tasks whose work is infrastructure: storage, the ledger, artifacts. Attempts at the API are never among them:
the generator retries those by the spec's own policy, so attempts never multiply."""

from __future__ import annotations

from typing import Any

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from convoforge.errors import ConfigError, ConvoforgeError

RETRIES = 3
"""Maximum retries of a task."""

DELAYS = exponential_backoff(backoff_factor=0.5)
"""Seconds before each retry: 0.5, 1, 2."""


async def is_worth_a_retry(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether a failure may pass by itself: storage or a database that is away. What a person has to mend is told at once."""
    error = await state.aresult(raise_on_failure=False)
    return isinstance(error, ConvoforgeError | OSError) and not isinstance(error, ConfigError)
