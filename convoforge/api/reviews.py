"""Routes of reviews: what there is to review, what was decided on a conversation, a decision, and its undo."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query, Request

from convoforge.api.access import requires
from convoforge.api.bodies import Data
from convoforge.api.bounds import BoundedRoute
from convoforge.api.conversations import EVERYWHERE, Chosen, describe
from convoforge.api.review_bodies import QueueBody, ReviewItemBody, ReviewRequest
from convoforge.ledger.reviews import Review
from convoforge.models import Provider
from convoforge.review import DEFAULT_SAMPLE
from convoforge.review.agreement import read_summary
from convoforge.review.choosing import Sample, choose
from convoforge.review.deciding import decide, read_reviews, undo
from convoforge.review.items import ReviewItem, read_items
from convoforge.viewer.state import Opened, Viewer, Which

MAX_ITEMS = 200

REVIEWS = "/api/conversations/{conversation_id:conversation}/reviews"
router = APIRouter(route_class=BoundedRoute, responses={**EVERYWHERE, **describe(400, 500)})
_LOOKS = requires("read", "review")
_DECIDES = requires("review")


@router.get("/api/datasets/{name}/reviews", dependencies=[_LOOKS])
async def queue(
    name: str,
    request: Request,
    viewer: Opened,
    provider: Chosen,
    sample: Annotated[
        str, Query(max_length=40, description="all, borderline, disagreements, rejected, or random:N of each axis value.")
    ] = DEFAULT_SAMPLE,
    again: Annotated[bool, Query(description="Also what only others have reviewed.")] = False,
    limit: Annotated[int, Query(ge=0, le=MAX_ITEMS)] = 20,
) -> Data[QueueBody]:
    """The conversations of a dataset that wait for a review, the first of them with their texts; and how far reviewers agree."""
    return Data(data=await viewer.run(_describe_queue, name, Sample.parse(sample), request.state.who, again, limit, provider))


@router.get(REVIEWS, dependencies=[_LOOKS])
async def reviews(conversation_id: str, viewer: Opened) -> Data[list[Review]]:
    """All reviews of a conversation, the oldest first."""
    found = await viewer.run(lambda viewer: read_reviews(viewer.ledger, conversation_id))
    return Data(data=found)


@router.post(REVIEWS, status_code=201, responses=describe(409, 413), dependencies=[_DECIDES])
async def review(conversation_id: str, body: ReviewRequest, request: Request, viewer: Opened) -> Data[Review]:
    """Decide on a conversation, in the name of the token. The next publish follows. An edit that changes nothing is an accept."""
    turns = None if body.turns is None else [one.model_dump() for one in body.turns]
    made = await viewer.run(
        lambda viewer: decide(
            viewer.ledger,
            conversation_id,
            body.decision,
            request.state.who,
            now=datetime.now(UTC),
            note=body.note,
            turns=turns,
            edit_of=body.edit_of,
        )
    )
    return Data(data=made)


@router.post(f"{REVIEWS}/undo", status_code=201, dependencies=[_DECIDES])
async def take_back(conversation_id: str, request: Request, viewer: Opened) -> Data[Review]:
    """Take back this token's last decision on a conversation: what counted before counts again."""
    made = await viewer.run(lambda viewer: undo(viewer.ledger, conversation_id, request.state.who, now=datetime.now(UTC)))
    return Data(data=made)


def _describe_queue(
    viewer: Viewer, name: str, sample: Sample, who: str, again: bool, limit: int, provider: Provider
) -> QueueBody:
    snapshot = Which.of(name, provider).snapshot(viewer)
    if (plan := snapshot.plan) is None:
        raise HTTPException(404, "single requests belong to no dataset that could be reviewed")
    found = choose(viewer.ledger, plan, snapshot.dataset_id, sample, reviewer=who, again=again)
    return QueueBody(
        dataset=name,
        provider=plan.provider,
        sample=str(sample),
        todo=len(found.todo),
        done=len(found.done),
        items=_describe_items(read_items(viewer.ledger, found.todo[:limit])),
        **read_summary(viewer.ledger, snapshot.dataset_id).as_json(),
    )


def _describe_items(items: Sequence[ReviewItem]) -> list[ReviewItemBody]:
    return [
        ReviewItemBody(**one.describe(), system=one.conversation.system, turns=list(one.conversation.turns), edit_of=one.edit_of)
        for one in items
    ]
