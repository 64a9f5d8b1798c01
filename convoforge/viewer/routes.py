"""All pages, by the scope that a reader needs for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi import APIRouter

from convoforge.viewer import conversation, conversations, costs, dataset, datasets, health, runs, start_run

PAGES: Mapping[Literal["read", "review", "generate"], APIRouter] = {
    scope: APIRouter(include_in_schema=False) for scope in ("read", "review", "generate")
}
for room in (datasets, dataset, conversations, conversation, costs, health):
    PAGES["read"].include_router(room.router)
for room in (dataset, conversation):
    PAGES["review"].include_router(room.actions)
PAGES["generate"].include_router(start_run.router)
PAGES["generate"].include_router(runs.steering)
PAGES["read"].include_router(runs.router)
