"""The route that lists a dataset's conversations: searched, filtered, sorted, a page at a time."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from convoforge.api.access import requires
from convoforge.api.bodies import Data
from convoforge.api.conversations import EVERYWHERE, Kept, choose_provider, describe
from convoforge.api.data_bodies import FoundConversation, FoundPage, SearchQuery
from convoforge.dataset.browse import Found, find
from convoforge.viewer.state import Opened, Viewer, Which

router = APIRouter(responses={**EVERYWHERE, **describe(500, 503)})


@router.get("/api/conversations", dependencies=[requires("read")])
async def conversations(query: Annotated[SearchQuery, Query()], viewer: Opened, kept: Kept) -> Data[FoundPage]:
    """The conversations of a dataset that match, a page at a time. What each counts as may be some seconds old."""
    found = await viewer.run(_find, Which.of(query.dataset, choose_provider(kept, query.simulated)), query)
    return Data(
        data=FoundPage(
            conversations=[FoundConversation.model_validate(row) for row in found.rows],
            total=found.total,
            page=found.page,
            pages=found.pages,
        )
    )


def _find(viewer: Viewer, which: Which, query: SearchQuery) -> Found:
    return find(which.snapshot(viewer, with_texts=bool(query.text)), query, query.rows)
