"""Finished message batches, picked up: their answers written down, their datasets published. Sends nothing, pays nothing."""

from __future__ import annotations

from time import monotonic
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from convoforge.dataset.status import read_status
from convoforge.errors import ConvoforgeError
from convoforge.ledger import Ledger
from convoforge.ledger.message_batches import list_open_batches
from convoforge.ledger.runs import find_dataset
from convoforge.orchestration.open_build import open_build_run
from convoforge.planning.forms import DatasetName, FormSection
from convoforge.planning.spec import DatasetSpec
from convoforge.settings import Settings
from convoforge.tasks.message_batches import collect_results
from convoforge.tasks.publish import publish
from convoforge.tasks.report import BuildReport, one_line, report_run
from convoforge.tasks.run_log import name_run, point_further
from convoforge.tasks.score import score_answers


class CollectOptions(FormSection):
    """Which message batches are collected."""

    simulate: bool = Field(default=False, description="Those of simulated datasets instead of real ones.")
    dataset: DatasetName | None = Field(default=None, description="Those of this dataset; where it is not set, of all.")


@flow(name="collect-message-batches", validate_parameters=True)
async def collect_message_batches(options: CollectOptions = CollectOptions()) -> State[Any]:
    """Write down the results of message batches that have ended, and publish their datasets. Sends nothing, pays nothing.

    Ends as Completed with a line for each dataset, or as Failed with what went wrong. A batch that goes on is left to the next time.

    Args:
        options: Which batches are collected.

    """
    dataset, simulate = options.dataset, options.simulate
    provider = "simulator" if simulate else "anthropic"
    await name_run("collect", dataset or "all datasets", simulated=simulate)
    try:
        with Ledger(Settings().database_url) as ledger:
            waiting = {one.dataset for one in ledger.read(list_open_batches) if one.provider == provider}
            names = sorted(waiting if dataset is None else waiting & {dataset})
            specs = [ledger.read(find_dataset, name, provider) for name in names]
    except ConvoforgeError as error:
        return Failed(message=point_further(one_line(error)), data=error)
    collected: list[str] = []
    failed: list[str] = []
    for row in specs:
        assert row is not None  # a batch has a run, and a run a dataset
        try:
            report = await _collect(DatasetSpec.from_text(row.spec), simulate=simulate)
            (failed if report.state == "failed" else collected).append(f"{row.name}: {report.message}")
        except ConvoforgeError as error:  # one dataset's trouble is not another's
            failed.append(f"{row.name}: {one_line(error)}")
            get_run_logger().warning("%s", failed[-1])
    message = point_further("; ".join([*collected, *failed]) or "no batch is open", "convoforge status")
    return Failed(message=message) if failed else Completed(message=message)


async def _collect(spec: DatasetSpec, *, simulate: bool) -> BuildReport:
    begun = monotonic()
    async with open_build_run(spec, simulate=simulate, sends=False) as opened:
        held = len(read_status(opened.ledger, opened.plan, opened.dataset_id).accepted)
        await collect_results(wait=False)
        await score_answers()
        release = await publish(opened)
        return await report_run(opened, release, held=held, limit=None, begun=begun)
