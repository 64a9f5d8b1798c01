"""Conversations that resemble each other without repeating each other: they stay in one split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.status import read_status
from convoforge.ledger import Ledger
from convoforge.ledger.signatures import list_published, read_near_pairs
from convoforge.planning.plan import Plan
from convoforge.planning.quality import MIN_ALIKE
from convoforge.publish import Layout, SplitRule, find_groups, find_torn, group_key, join_alike, read_placed

ReadStatus = Callable[[Mapping[int, str]], DatasetStatus]
"""How a dataset stands where some requests, each with a published conversation that is in its way, have no place."""


def group_cells(plan: Plan) -> dict[str, str]:
    """The group that each cell's conversations have alone, by the cells' keys."""
    return {cell.key: group_key(cell.values, plan.spec.publish.group_by) for cell in plan.cells}


def read_placed_status(
    ledger: Ledger, plan: Plan, dataset_id: int, layout: Layout, read: ReadStatus | None = None
) -> tuple[DatasetStatus, dict[int, str]]:
    """How a dataset stands where each accepted conversation has a place in a split, and the groups of those that join another one, by
    request. One without a place is dropped, and its cell wants another draw. `read` is how it stands without some of them; by default, it
    is read from the ledger."""
    torn: dict[int, str] = {}
    while True:
        status = read(torn) if read else read_status(ledger, plan, dataset_id, own=True, torn=torn)
        joined, more = join_clusters(ledger, plan, dataset_id, layout, status)
        if not more:
            return status, joined
        torn |= more


def join_clusters(
    ledger: Ledger, plan: Plan, dataset_id: int, layout: Layout, status: DatasetStatus
) -> tuple[dict[int, str], dict[int, str]]:
    """The group of each accepted conversation that joins one that it resembles, or has joined one, by request; and those that resemble
    one of another split, each with that one.

    What was published and has left the plan counts as well: it may come back.
    """
    rule, how, groups = plan.spec.quality.near_duplicates, plan.spec.publish, group_cells(plan)
    # all pairs, and all that was published, as one that has joined another stays with it whatever becomes of that or of the spec
    pairs = [pair for pair in ledger.read(read_near_pairs, dataset_id, MIN_ALIKE) if pair.dataset == dataset_id]
    names = {pair.other_id: pair.conversation_id for pair in pairs}  # of both: each pair is there in both directions
    known = names.keys() | ledger.read(list_published, dataset_id)
    draws = {draw.request_id: draw for draw in status.accepted if draw.request_id in known}
    if not draws:
        return {}, {}
    names = {request: draw.conversation_id for request, draw in draws.items()} | names
    split_by = SplitRule(fractions=how.splits, group_by=how.group_by, seed=plan.spec.seed)
    published = find_groups(layout, {*names.values()}, split_by)
    alone = {names[request]: groups[draw.cell] for request, draw in draws.items()}
    near = [(names[pair.request_id], pair.conversation_id) for pair in pairs if rule and pair.similarity >= rule.cluster]
    joined, torn = settle_groups(near, alone, published, read_placed(layout, split_by))
    moved = {
        request: group
        for request, draw in draws.items()
        if (group := joined.get(names[request], "")) not in ("", groups[draw.cell])
    }
    return moved, {request: torn[names[request]] for request in draws if names[request] in torn}


def settle_groups(
    near: Iterable[tuple[str, str]], alone: Mapping[str, str], published: Mapping[str, str], placed: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """The groups of conversations that resemble others, and those that have no place, with one that is in their way. `near` are pairs;
    `alone` has the groups that those of today's plan would have alone, `published` those of all that were published, `placed` the splits
    of groups."""
    own = {name: group for name, group in published.items() if name not in alone} | dict(alone)
    pairs = [pair for pair in near if own.keys() >= {*pair}]
    joined = {name: published[name] for name in alone if name in published} | join_alike(pairs, own, published)
    return joined, find_torn(pairs, sorted(own, key=lambda name: name not in published), joined, placed)
