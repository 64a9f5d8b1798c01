"""All pages, by the scope that a reader needs for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter

from convoforge.viewer import datasets, runs, start_run

PAGES: Mapping[Literal["read", "review", "generate"], APIRouter] = {
    scope: APIRouter(include_in_schema=False) for scope in ("read", "review", "generate")
}
PAGES["read"].include_router(datasets.router)
PAGES["generate"].include_router(start_run.router)
PAGES["generate"].include_router(runs.steering)
PAGES["read"].include_router(runs.router)
