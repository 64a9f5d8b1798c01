"""What all pages share: the ledger, and the few threads that read it, so that the server's event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qsl, quote

from fastapi import Depends, HTTPException, Request
from starlette.convertors import IntegerConvertor, StringConvertor, register_url_convertor

from convoforge.dataset.release import dataset_layout
from convoforge.dataset.snapshot import Snapshot
from convoforge.dataset.snapshots import WAIT_SECONDS, Snapshots
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.models import Provider
from convoforge.orchestration.followed_runs import read_by
from convoforge.publish import Layout
from convoforge.runs.feed import Feed
from convoforge.settings import Settings
from convoforge.viewer.queue import Queues

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 4
"""Maximum number of pages that are made at once; others wait. As many again may wait for the Prefect server. Requests that generate have
other threads."""


AGAIN = {"retry-after": "1", "refresh": "1"}
"""Headers of a page that a browser asks for again, a second later."""

MAX_FIELDS = 1_000
"""Maximum number of fields of a form: more than the turns of any conversation."""


class Viewer:
    """What pages are made of. Its functions are called in threads: `await viewer.run(read_rows, name)`. `feed` follows runs; `queues`
    hold what reviewers walk through; `notes` say what came of the last publishing of a dataset."""

    def __init__(
        self, ledger: Ledger, settings: Settings, snapshots: Snapshots, threads: ThreadPoolExecutor, askers: ThreadPoolExecutor
    ) -> None:
        self.ledger = ledger
        self.settings = settings
        self.snapshots = snapshots
        self.queues = Queues()
        self.notes: dict[Which, str] = {}
        self.feed = Feed(read_by(ledger))
        self._threads = threads
        self._askers = askers

    async def run(self, function: Callable[Concatenate[Viewer, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `function(viewer, …)` in a thread and return its result."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(self, *args, **kwargs))

    async def run_asking(self, function: Callable[Concatenate[Viewer, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what asks the Prefect server: where that hangs, other pages go on."""
        return await asyncio.get_running_loop().run_in_executor(self._askers, lambda: function(self, *args, **kwargs))


@dataclass(frozen=True, slots=True)
class Which:
    """The dataset that an address names: `/datasets/NAME…`, or `/simulated/NAME…` where a simulator wrote it."""

    kind: str
    name: str

    @classmethod
    def of(cls, name: str, provider: str) -> Which:
        """The one of a provider."""
        return cls("simulated" if provider == "simulator" else "datasets", name)

    @property
    def provider(self) -> Provider:
        return "simulator" if self.kind == "simulated" else "anthropic"

    @property
    def address(self) -> str:
        return f"/{self.kind}/{quote(self.name)}"

    def layout(self, settings: Settings) -> Layout:
        return dataset_layout(settings.data_dir, self.name, self.provider)

    def snapshot(
        self,
        viewer: Viewer,
        *,
        with_texts: bool = False,
        wait_seconds: float | None = WAIT_SECONDS,
        first_seconds: float | None = None,
    ) -> Snapshot:
        """What its answers count as; see `Snapshots.get`. Raises `HTTPException`: 404 where there is no such dataset, and where nothing can
        be shown within `first_seconds` 503, a page that asks again by itself. Forms and programs wait (None)."""
        try:
            return viewer.snapshots.get(
                self.name, self.provider, with_texts=with_texts, wait_seconds=wait_seconds, first_seconds=first_seconds
            )
        except ConfigError as error:
            raise HTTPException(404, str(error)) from None
        except TimeoutError:
            what = "texts" if with_texts else "conversations"
            message = (
                f"the {what} of '{self.name}' are being read, about a second for every 10,000; then this page opens by itself"
            )
            raise HTTPException(503, message, AGAIN) from None


@asynccontextmanager
async def open_viewer(settings: Settings) -> AsyncIterator[Viewer]:
    """Open the ledger for pages. Raises `LedgerError` if it cannot be opened."""
    with (
        ThreadPoolExecutor(THREADS, "viewer") as threads,
        ThreadPoolExecutor(THREADS, "prefect") as askers,
        await asyncio.get_running_loop().run_in_executor(threads, Ledger, settings.database_url) as ledger,
        Snapshots(ledger, settings) as snapshots,
    ):
        viewer = Viewer(ledger, settings, snapshots, threads, askers)
        try:
            yield viewer
        finally:
            await viewer.feed.close()


def _opened(request: Request) -> Viewer:
    viewer: Viewer = request.app.state.viewer
    return viewer


Opened = Annotated[Viewer, Depends(_opened)]
"""The viewer, as the pages' functions are given it."""


class _Kind(StringConvertor):
    regex = "datasets|simulated"


class _Version(IntegerConvertor):
    regex = "[0-9]{1,9}"


register_url_convertor("kind", _Kind())
register_url_convertor("version", _Version())
DATASET = "/{kind:kind}/{name}"
"""Where the pages of a dataset are."""

Chosen = Annotated[Which, Depends(Which)]
"""The dataset that is asked for, as the pages' functions are given it."""


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that a browser sends; of several with one name the last. Raises `HTTPException` (400) for too many."""
    body = (await request.body()).decode(errors="replace")
    try:
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except ValueError:
        raise HTTPException(400, f"the form has more than {MAX_FIELDS:,} fields") from None
