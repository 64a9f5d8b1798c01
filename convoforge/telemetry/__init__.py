"""Traces and metrics of what is sent, for OpenTelemetry: only where OTEL_EXPORTER_OTLP_ENDPOINT is set. Elsewhere nothing is imported.

A trace is a run, and has its id: run → shard → attempt. What is said follows the conventions for generative AI. Never a text of a prompt
or an answer, never a key. A collector that is away costs a run nothing: what it does not take is dropped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING

from convoforge.ledger.attempts import Completion
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.telemetry.recorder import Recorder

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def explain_missing() -> str:
    """What to do where an endpoint is set and OpenTelemetry is not installed; empty where all is well."""
    if not os.environ.get(ENDPOINT) or find_spec("opentelemetry.exporter") is not None:
        return ""
    return f"{ENDPOINT} is set, and OpenTelemetry is not installed: pip install 'convoforge[otel]', or unset the variable"


@cache
def find_recorder() -> Recorder | None:
    """What records, made when it is first needed; None where no endpoint is set, or OpenTelemetry is not installed."""
    if not os.environ.get(ENDPOINT):
        return None
    if missing := explain_missing():
        logging.getLogger(__name__).warning(missing)
        return None
    from convoforge.telemetry.recorder import Recorder

    return Recorder(Settings())


@contextmanager
def trace_run(run_id: str, dataset: str, provider: str, *, joined: bool) -> Iterator[None]:
    """A process's part in a run, with all that is sent inside. What is recorded is delivered at its end, within seconds or not at all."""
    recorder = find_recorder()
    if recorder is None:
        yield
        return
    known = {"convoforge.run.id": run_id, "convoforge.dataset": dataset}
    try:
        simulated = provider == "simulator"
        with recorder.span(f"run {dataset}", {**known, "convoforge.simulated": simulated, "convoforge.joined": joined}, run_id):
            yield
    finally:
        recorder.flush()


@contextmanager
def trace_shard(requests: int) -> Iterator[None]:
    """A shard of a run's requests, with its attempts inside."""
    recorder = find_recorder()
    if recorder is None:
        yield
        return
    with recorder.span("shard", {"convoforge.requests": requests}):
        yield


def record_attempt(completion: Completion) -> None:
    """A call to the API that has ended, as the ledger keeps it."""
    recorder = find_recorder()
    if recorder is not None:
        recorder.record(completion)


def flush() -> None:
    """Deliver what is recorded, within seconds or not at all."""
    recorder = find_recorder()
    if recorder is not None:
        recorder.flush()
