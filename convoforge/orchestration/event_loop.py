"""How a process runs that has nothing to do but a build."""

from __future__ import annotations

import gc
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

T = TypeVar("T")


def run_build(build: Coroutine[Any, Any, T]) -> T:
    """Run a build on uvloop. The garbage collector leaves alone what imports have made: half a million objects of Prefect and the SDK,
    which each full collection would walk."""
    gc.freeze()
    return uvloop.run(build)
