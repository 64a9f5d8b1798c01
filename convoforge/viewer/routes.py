"""All pages, by the scope that a reader needs for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from fastapi import APIRouter

from convoforge.viewer import conversation, conversations, costs, dataset, datasets, health, runs, start_run

PAGES: Mapping[Literal["read", "review", "generate"], Sequence[APIRouter]] = {
    "read": [room.router for room in (datasets, dataset, conversations, conversation, costs, health, runs)],
    "review": [dataset.actions, conversation.actions],
    "generate": [start_run.router, runs.steering],
}
