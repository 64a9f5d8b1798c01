"""Publishing: the accepted rows of the ledger as a version of the dataset."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from prefect import task
from prefect.cache_policies import NO_CACHE

from convoforge.dataset.acceptance import StatusSummary
from convoforge.dataset.release import publish_dataset
from convoforge.orchestration.session import session
from convoforge.publish import Published


@dataclass(frozen=True, slots=True)
class Release:
    """What was published, and how the dataset stood then."""

    published: Published
    summary: StatusSummary


@task(name="publish", cache_policy=NO_CACHE, persist_result=False)
async def publish_version(run_id: str) -> Release:
    """Publish the run's dataset, unless the newest version holds exactly these rows already. Raises what `publish_dataset` raises."""
    opened = session(run_id)
    published, summary = await asyncio.to_thread(
        publish_dataset,
        opened.ledger,
        opened.plan,
        opened.dataset_id,
        opened.settings.data_dir,
        stale=opened.stale,
        run_id=run_id,
    )
    return Release(published, summary)
