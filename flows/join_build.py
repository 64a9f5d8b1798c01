"""One worker's part in a build: `build_dataset` starts these runs when it is given `workers`. Anybody may start more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed

from convoforge.errors import ConvoforgeError, format_count
from convoforge.flows.build_dataset import generate_missing, next_step
from convoforge.ledger import Ledger
from convoforge.ledger.requests import list_unanswered
from convoforge.ledger.runs import read_stop
from convoforge.orchestration.build_run import BuildRun
from convoforge.orchestration.cancellation import end_state
from convoforge.orchestration.joining import check_sources, read_joinable
from convoforge.orchestration.open_build import WATCH_SECONDS, open_build_run
from convoforge.orchestration.run_names import present_run
from convoforge.settings import Settings
from convoforge.tasks.report import one_line
from convoforge.tasks.run_log import point_further

JUDGED_AT_ONCE = 50
"""Maximum number of conversations that a worker takes to the judge before it looks for what to generate."""


@flow(name="join-build", validate_parameters=True)
async def join_build(run_id: str) -> State[Any]:
    """Generate what is missing in a build's dataset on this worker too, until the build ends. It plans, scores and publishes.

    Ends as Completed; as Partial if a budget stops it; as Cancelled if it was cancelled, or the build was over already; as Failed if no
    request can work here.

    Args:
        run_id: Id of the build's run in the ledger, 32 characters, as `convoforge status` and the log of the build show it.

    """
    await present_run(f"join {run_id[:8]}")
    try:
        settings = Settings()
        with Ledger(settings.database_url) as ledger:
            build = read_joinable(ledger, run_id)
        if build.over:
            return Cancelled(message=one_line(f"there is nothing to do for run {run_id}: {build.over}"))
        simulated = build.provider == "simulator"
        if simulated:
            settings = settings.model_copy(update={"base_url": build.endpoint})
        async with open_build_run(build.spec, simulate=simulated, settings=settings, part_of=run_id) as opened:
            check_sources(opened.plan, build.sources)
            await _generate_until_over(opened)
            end = await _ending(opened)
        return await end_state(end)
    except ConvoforgeError as error:
        return Failed(message=point_further(one_line(error)), data=error)


async def _generate_until_over(opened: BuildRun) -> None:
    """Generate what is pending and let the judge read what waits for it, until this run stops, as it does when the build is over. What any
    process of the build has tried in vain is left to the build."""
    offered: set[int] = set()
    while opened.state.stopped is None:
        step = await next_step(opened, None, await opened.ledger.aread(list_unanswered, opened.run_id))
        if step.todo:
            await generate_missing(opened, step)
        elif not await _judge_some(opened, step.to_judge, offered):
            opened.state.stage = "waiting for the build"
            await asyncio.sleep(WATCH_SECONDS)


async def _judge_some(opened: BuildRun, waiting: Sequence[int], offered: set[int]) -> bool:
    """Let the judge read some conversations that the build has not got to: it begins at the other end. Each is offered once, as the
    build, which scores, asks again where that is needed. Whether there were any."""
    if opened.judging is None or not (some := [one for one in reversed(waiting) if one not in offered][:JUDGED_AT_ONCE]):
        return False
    offered.update(some)
    opened.state.stage = f"waiting for the judge of {format_count(len(some), 'conversation')}"
    await opened.judging.ask(opened.plan, some)
    return True


async def _ending(opened: BuildRun) -> State[Any]:
    """The state that says what happened, and counts: answers, failures."""
    state = opened.state
    counts = {"generated": state.tally["generated"], "judged": state.tally["judged"], "failed": len(state.unanswered)}
    if state.fatal:
        return Failed(message=one_line(state.stopped), data=counts)
    if state.interrupted:
        return Cancelled(message=one_line(state.stopped), data=counts)
    if over := await opened.ledger.aread(read_stop, opened.run_id, datetime.now(UTC)):
        judged = f"{counts['judged']} judged, " if opened.judging is not None else ""
        figures = f"{counts['generated']} generated, {judged}{counts['failed']} failed"
        return Completed(message=one_line(f"{figures}; the build is over: {over}"), data=counts)
    return Completed(name="Partial", message=one_line(state.stopped), data=counts)
