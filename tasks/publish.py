"""Publishing: the accepted rows of the ledger as a version of the dataset."""

from __future__ import annotations

import asyncio
import base64
import re
from dataclasses import dataclass
from typing import Any

from prefect.artifacts import acreate_image_artifact
from prefect.assets import Asset, add_asset_metadata, materialize
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from prefect.states import Completed

from convoforge.dataset.acceptance import StatusSummary
from convoforge.dataset.release import publish_dataset
from convoforge.models import Provider
from convoforge.orchestration.build_run import BuildRun, current_run
from convoforge.planning.plan import Plan
from convoforge.publish import Published
from convoforge.tasks.retries import DELAYS, RETRIES, is_worth_a_retry
from convoforge.tasks.run_log import describe_version


@dataclass(frozen=True, slots=True)
class Release:
    """What was published, and how the dataset stood then."""

    published: Published
    summary: StatusSummary


async def publish(opened: BuildRun) -> Release:
    """Publish a run's dataset as an asset of its own name, unless the newest version holds exactly these rows already. Prefect
    announces the asset only where there is a new version. Raises what `publish_dataset` raises."""
    state = await publish_version.with_options(assets=[asset_of(opened.plan)])(return_state=True)  # type: ignore[misc]  # it is async
    release: Release = await state.aresult()
    return release


@materialize(
    "convoforge://datasets",
    name="publish",
    task_run_name="publish",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=RETRIES,
    retry_delay_seconds=DELAYS,
    retry_condition_fn=is_worth_a_retry,
)
async def publish_version() -> Any:
    """Publish the run's dataset. Returns a state with the `Release`: Cached if nothing is new, as no asset is announced then."""
    opened = current_run()
    published, summary = await asyncio.to_thread(
        publish_dataset,
        opened.ledger,
        opened.plan,
        opened.dataset_id,
        opened.settings.data_dir,
        stale=opened.state.stale,
        run_id=opened.run_id,
    )
    new = published.version is not None and not published.unchanged
    if new:
        add_asset_metadata(
            asset_of(opened.plan), {"version": published.version, "path": str(published.path), "run_id": opened.run_id}
        )
        await _show_plots(opened.plan, published)
    message = describe_version(published)
    get_run_logger().info("%s", message[:1].upper() + message[1:])
    return Completed(name="Completed" if new else "Cached", message=message, data=Release(published, summary))


async def _show_plots(plan: Plan, published: Published) -> None:
    """Leave the main charts of a version as artifacts, which Prefect shows beside those of the versions before."""
    try:
        for name, svg in published.plots.items():
            address = f"data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()}"
            description = f"{plan.spec.name}, version {published.version}: {name}"
            await acreate_image_artifact(
                address, key=f"{artifact_key(plan.spec.name, plan.provider)}-{name}", description=description
            )
    except Exception as error:  # noqa: BLE001 - the version is there, and its report shows them: a Prefect server that is away changes none of it
        get_run_logger().warning("the charts are in the report alone: %s", error)


def artifact_key(dataset: str, provider: Provider) -> str:
    """A dataset's name as Prefect takes it for an artifact: lower case, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", f"{dataset}{'-simulated' if provider == 'simulator' else ''}".lower()).strip("-")


def asset_of(plan: Plan) -> Asset:
    """A dataset, as Prefect's assets name it. Simulated ones are another family."""
    family = "simulated" if plan.provider == "simulator" else "datasets"
    return Asset(key=f"convoforge://{family}/{plan.spec.name}")
