"""One run, as a story: plan → (generate → score → judge)* → publish → report."""

from __future__ import annotations

import asyncio
from array import array
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.estimate import Estimate
from convoforge.dataset.forecast import forecast, read_known_of_plan
from convoforge.dataset.placing import read_settled_status
from convoforge.dataset.registering import register
from convoforge.dataset.status import is_scored, read_status
from convoforge.errors import ConvoforgeError, format_count
from convoforge.ledger.judgments import ask_refused_again
from convoforge.ledger.message_batches import list_open_batches
from convoforge.ledger.requests import claim, requeue
from convoforge.ledger.runs import keep_report, list_answered_by
from convoforge.orchestration.approval import await_approval
from convoforge.orchestration.build_run import BuildRun
from convoforge.orchestration.cancellation import end_state
from convoforge.orchestration.joining import count_workers, divide_concurrency, find_deployment, let_others_join, stop_others
from convoforge.orchestration.open_build import open_build_run
from convoforge.planning.forms import SpecName
from convoforge.planning.options import BuildOptions, explain_model, resolve_spec
from convoforge.scoring.judge import ANSWERS
from convoforge.settings import Settings
from convoforge.tasks.generate import SINGLY_UP_TO, generate
from convoforge.tasks.judge import judge_conversations
from convoforge.tasks.message_batches import collect_results, submit_message_batch
from convoforge.tasks.messages import read_data
from convoforge.tasks.progress import show_progress
from convoforge.tasks.publish import publish
from convoforge.tasks.report import BuildReport, one_line, report_run
from convoforge.tasks.run_log import log_plan, name_run, point_further
from convoforge.tasks.score import score_answers


@flow(name="build-dataset", validate_parameters=True)
async def build_dataset(spec: SpecName, options: BuildOptions = BuildOptions()) -> State[Any]:
    """Generate what is missing in a dataset, score it, and publish a new version.

    Ends as Completed, as Completed with the name Partial, or as Failed, with one line that says why. Where its estimate is above
    `approve_above_usd`, it waits as Suspended until it is resumed with a yes.

    Args:
        spec: The dataset to build: name of a spec in configs/datasets, or path of a .yaml file on the worker.
        options: What this run does otherwise than the spec says.

    """
    begun = monotonic()
    try:
        what = resolve_spec(spec, options, settings := Settings())
        for remark in explain_model(spec, options, settings):
            get_run_logger().warning(remark)
        if (declined := await await_approval(what, options, settings)) is not None:
            return declined
        if options.workers is not None:
            await find_deployment()
        workers = count_workers(what, options)
        if options.workers is not None and not workers:
            get_run_logger().warning(
                "no worker joins: a limit is counted in one process, and each process needs a call in flight"
            )
        what = divide_concurrency(what, workers + 1)
        async with open_build_run(what, simulate=options.simulate, strand=options.strand) as opened:
            held = await _prepare(opened, options, workers)
            async with show_progress(opened):
                await _fill(opened, options, held)
                if opened.state.stopped is not None:
                    await stop_others(opened, opened.state.stopped)
                await _score(opened)
            opened.state.stage = "publishing"
            release = await publish(opened)
            report = await report_run(opened, release, held=held, limit=options.limit, begun=begun)
            return await end_state(make_end(report))
    except ConvoforgeError as error:
        await name_run(spec, simulated=options.simulate)
        return Failed(message=point_further(one_line(error)), data=error)


def make_end(report: BuildReport) -> State[Any]:
    """The state that says what happened, and where more is said."""
    command = "errors" if report.state in ("failed", "partial") else "status"
    message = point_further(report.message, f"convoforge {command} {report.run_id[:8]}")
    if report.state == "failed":
        return Failed(message=message, data=report)
    return Completed(name=report.state.capitalize(), message=message, data=report)


async def _prepare(opened: BuildRun, options: BuildOptions, workers: int) -> int:
    """How many accepted conversations are held already. Stale ones are counted, and with a refresh asked for again. What the API refused
    cost nothing: it is asked again where it would be sent differently today, or by wish. What it will cost is estimated, as the
    command line has announced it. Other processes may join from now on."""
    await _score(opened)
    if options.limit is not None:  # a run that is resumed has made a part of it
        options = options.model_copy(update={"limit": max(0, options.limit - opened.generated)})
    seen = await asyncio.to_thread(lambda: forecast(read_known_of_plan(opened.ledger, opened.plan, opened.settings), options))
    if seen.judge_again:
        await opened.ledger.awrite(ask_refused_again, [draw.request_id for draw in seen.judge_again])
        await _score(opened)
    if seen.again:
        await opened.ledger.awrite(requeue, [draw.request_id for draw in seen.again])
    await log_plan(seen, simulated=options.simulate)
    opened.state.stale = 0 if options.refresh else len(seen.stale)
    opened.know_accepted(seen.status, {draw.request_id for draw in seen.again})
    opened.state.estimated = await _keep_estimate(opened, seen.costs)
    if options.limit is None and opened.plan.spec.mode != "batch":
        missing = len(seen.status.pending) + len(seen.status.to_request) + len(seen.again)
        await let_others_join(opened, workers, missing)
    own = await opened.ledger.aread(list_answered_by, opened.run_id)  # of a run that is resumed
    return sum(draw.request_id not in own for draw in seen.status.accepted)


async def _keep_estimate(opened: BuildRun, costs: Estimate) -> dict[str, str]:
    """What the whole run is expected to cost, US dollars: where it is resumed, what was expected when it began."""
    amounts = {"cost": costs.cost.expected, "low": costs.cost.low, "high": costs.cost.high}
    fields = {f"estimated_{name}_usd": f"{amount:.6f}" for name, amount in amounts.items()}
    known = await opened.ledger.awrite(keep_report, opened.run_id, fields)
    return {name: known[name] for name in fields}


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done next: draws to register, requests to generate, answers to score and to judge. Of a large dataset's status
    nothing else stays in memory."""

    ask: Sequence[tuple[str, int]]
    todo: Sequence[int]
    names: Mapping[int, str]
    elsewhere: bool
    pending: bool
    unscored: bool
    to_judge: Sequence[int] = ()


_NO_STEP = Step((), (), {}, elsewhere=False, pending=False, unscored=False)


async def _fill(opened: BuildRun, options: BuildOptions, held: int) -> None:
    """Rounds of asking, generating and scoring, while cells are short and draws are left. What failed in transport gets one last pass.
    What is in batches already, of this run or of earlier ones, is waited for; or, if `wait` is off, left to the next build."""
    tried: set[int] = set()
    judged: Counter[int] = Counter()  # how often each was sent to the judge: again where that failed or its answer does not count
    last_pass = crowded = scored = judged_elsewhere = False
    while opened.state.stopped is None:
        left = None if options.limit is None else options.limit - opened.generated - opened.state.in_batches
        step = await next_step(opened, left, tried, held)
        if step.unscored and not scored:  # once, then what is missing: another build of the dataset may answer all the time
            await _score(opened)
            scored = True
            continue
        scored = False
        if step.ask:
            draws = [(opened.cells[cell], draw) for cell, draw in step.ask]
            await asyncio.to_thread(register, opened.ledger, opened.plan, opened.dataset_id, draws)
        elif step.todo and not crowded:
            tried |= (now := await generate_missing(opened, step))
            crowded = opened.plan.spec.mode == "batch" and not now  # a budget has no room until something comes back
        elif not judged_elsewhere and (unread := [one for one in step.to_judge if judged[one] < ANSWERS]):
            judged.update(sent := await _judge(opened, unread))
            judged_elsewhere = not sent
        elif await opened.ledger.aread(list_open_batches, opened.dataset_id):
            opened.start_clock()
            collected = await collect_results(wait=options.wait, return_state=True)  # type: ignore[misc]  # it is async
            tried.update(await read_data(collected))
            crowded = judged_elsewhere = False
            if opened.state.in_batches and not options.wait:
                return
        elif left is not None and left <= 0:
            return
        elif step.elsewhere or judged_elsewhere or crowded:  # or others have collected meanwhile
            crowded = judged_elsewhere = False
            opened.state.stage = "waiting for what other processes have begun"
            await opened.ledger.awrite(claim, opened.context.owner, (), datetime.now(UTC))  # gives back what a dead one held
            await asyncio.sleep(1.0)
        elif step.unscored:
            continue  # another build's last answers
        elif last_pass or not step.pending:
            return
        else:
            last_pass, tried = True, set(opened.state.final)


async def next_step(opened: BuildRun, left: int | None, tried: Collection[int], held: int = 0) -> Step:
    """What is missing, at most `left` of it, without what this run has tried. Nothing, and the run stops, where almost all that it has
    brought are near-duplicates; `held` conversations were accepted before."""
    status = await _status(opened)
    if not (opened.joined or status.to_request or status.pending or status.unscored or status.to_judge):
        # what would be left out of the version is replaced
        where = opened.ledger, opened.plan, opened.dataset_id, opened.settings.data_dir
        status = await asyncio.to_thread(read_settled_status, *where)
    repeated = sum(one.reason.startswith("near-duplicate") for one in status.rejected)
    if opened.state.recent is not None and repeated and not (status.unscored or status.to_judge):
        message = opened.state.recent.check_whole_run(len(status.accepted) - held, opened.generated, repeated)
        if message is not None:
            opened.state.stop(message)
            return _NO_STEP
    todo = [draw for draw in status.pending if draw.state == "pending" and draw.request_id not in tried]
    ask = status.to_request if left is None else status.to_request[: max(0, left - len(todo))]
    todo = todo if left is None else todo[: max(0, left)]
    return Step(
        ask=ask,
        todo=array("q", [draw.request_id for draw in todo]),
        names={draw.request_id: opened.cells[draw.cell].name_draw(draw.draw) for draw in todo[:SINGLY_UP_TO]},
        elsewhere=any(draw.state == "claimed" for draw in status.pending),
        pending=bool(status.pending),
        unscored=bool(status.unscored) or (opened.judging is not None and not await _is_scored(opened)),
        to_judge=array("q", [draw.request_id for draw in status.to_judge]),
    )


async def generate_missing(opened: BuildRun, step: Step) -> set[int]:
    """Generate what a step asks for. Returns the ids that were tried here and stay without an answer."""
    todo = step.todo
    opened.state.stage = "generating"
    opened.state.unanswered.difference_update(todo)
    await opened.count_others()
    opened.state.todo = opened.generated + len(opened.state.unanswered) + len(todo)
    opened.start_clock()
    if opened.plan.spec.mode == "batch":
        opened.state.stage = "handing over a batch"
        label = format_count(len(todo), "request")
        handed = await submit_message_batch(list(todo), label, return_state=True)  # type: ignore[misc]  # it is async
        return set(await read_data(handed))
    return await generate(opened, todo, step.names)


async def _score(opened: BuildRun) -> None:
    """Score what needs it: what this run has brought, another build of the dataset, one that was killed; all, after a change of scorers."""
    if not await _is_scored(opened):
        opened.state.stage = "scoring"
        await score_answers()


async def _is_scored(opened: BuildRun) -> bool:
    return await asyncio.to_thread(is_scored, opened.ledger, opened.plan, opened.dataset_id)


async def _judge(opened: BuildRun, ids: Sequence[int]) -> list[int]:
    """Let the judge read some conversations, and score them by what it says. Stops the run where the judge accepts hardly any. Returns
    those that were sent."""
    label = format_count(len(ids), "conversation")
    opened.state.stage = f"waiting for the judge of {label}"
    sent: list[int] = await read_data(await judge_conversations([*ids], label, return_state=True))  # type: ignore[misc]  # it is async
    await _score(opened)
    await opened.count_others()
    status = await _status(opened)
    why = {one.draw.request_id: one.reason for one in status.rejected}
    waiting = {draw.request_id for draw in status.to_judge}
    for request_id in sent:
        if request_id not in waiting and opened.state.recent_judged is not None:
            message = opened.state.recent_judged.add([why[request_id]] if request_id in why else [], None)
            if message is not None:
                opened.state.stop(message)
    return sent


async def _status(opened: BuildRun) -> DatasetStatus:
    return await asyncio.to_thread(lambda: read_status(opened.ledger, opened.plan, opened.dataset_id, own=True))
