"""One worker's part in a build: `build_dataset` starts these runs when it is given `workers`. Nobody else needs to."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Cancelled, Completed, Failed
from pydantic import Field

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.ledger import Ledger
from convoforge.ledger.runs import read_runs, read_stop
from convoforge.orchestration.build_run import BuildRun, open_build_run
from convoforge.orchestration.cancellation import end_state
from convoforge.orchestration.workers import check_sources, expand, turned
from convoforge.planning.spec import DatasetSpec, change_spec
from convoforge.settings import Settings
from convoforge.tasks.generate import generate_share
from convoforge.tasks.report import one_line


@flow(name="join-build", validate_parameters=True)
async def join_build(
    run_id: str,
    requests: str,
    since: datetime,
    sources: dict[str, str],
    part: Annotated[int, Field(ge=0)] = 0,
    parts: Annotated[int, Field(ge=1)] = 1,
    concurrency: Annotated[int, Field(ge=1)] = 1,
    simulator: str | None = None,
) -> State[Any]:
    """Generate a share of a build's requests on this worker. A build with `workers` starts these runs; nobody else needs to.

    Ends as Completed; as Partial if a budget stops the whole build; as Cancelled if it was told to stop; as Failed if no request can
    work here.

    Args:
        run_id: Id of the build's run in the ledger.
        requests: Ids of the build's requests, as ranges: 1-500,510.
        since: Requests whose attempts have failed after this moment are not tried again.
        sources: The build's templates and personas, with the hash of each.
        part: Index of this share, counted from 0.
        parts: Number of runs that share the requests.
        concurrency: Maximum number of calls in flight at once.
        simulator: Address of the simulator if the build is simulated.

    """
    try:
        settings = Settings()
        with Ledger(settings.database_url) as ledger:
            rows = ledger.read(read_runs, run=run_id, limit=1)
            if not rows:
                raise ConfigError(
                    f"run {run_id} is not in this worker's ledger: give it the CONVOFORGE_DATABASE_URL and CONVOFORGE_DATA_DIR of the build"
                )
            if over := ledger.read(read_stop, run_id, datetime.now(UTC)):
                return Cancelled(message=one_line(f"there is nothing to do for run {run_id}: {over}"))
        spec = change_spec(DatasetSpec.from_text(rows[0].spec), limits={"concurrency": concurrency})
        if simulator is not None:
            settings = settings.model_copy(update={"base_url": simulator})
        async with open_build_run(spec, simulate=simulator is not None, settings=settings, part_of=run_id) as opened:
            check_sources(opened.plan, sources)
            await generate_share(opened, turned(expand(requests), part, parts), parts, since)
        return await end_state(ending(opened))
    except ConvoforgeError as error:
        return Failed(message=one_line(error), data=error)


def ending(opened: BuildRun) -> State[Any]:
    """The state that says what happened, and counts: answers, failures, US dollars."""
    run_state = opened.state
    counts = {"generated": run_state.tally["generated"], "failed": len(run_state.unanswered)}
    if run_state.stopped is None:
        return Completed(message=f"{counts['generated']} generated, {counts['failed']} failed", data=counts)
    message = one_line(run_state.stopped)
    if run_state.fatal:
        return Failed(message=message, data=counts)
    return (
        Cancelled(message=message, data=counts)
        if opened.state.interrupted
        else Completed(name="Partial", message=message, data=counts)
    )
