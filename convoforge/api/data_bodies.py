"""JSON bodies of datasets, their versions and conversations, and of estimates, as those in `bodies`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from convoforge.api.bodies import ANSWER, REQUEST, SIMULATED, Answer, ListedConversation
from convoforge.dataset.browse import ROWS, Asked, Search
from convoforge.models import Label, Provider
from convoforge.publish.manifest import File


class EstimateBody(BaseModel):
    """A build to estimate: the name of a spec in the server's configs, or a whole spec. `limit` is the maximum number of
    conversations to generate; `simulate` is about the simulated dataset."""

    model_config = REQUEST

    config: Label | None = None
    spec: dict[str, Any] | None = None
    simulate: bool = False
    limit: int | None = Field(default=None, ge=1, le=1_000_000)


class RunBody(Answer):
    """The last run of a dataset."""

    id: str
    state: str
    started_at: datetime


class DatasetBody(Answer):
    """A dataset. `spent` is in US dollars; `version` is the number of the newest published version, with so many `rows`."""

    name: str
    provider: Provider
    model: str
    spent: float
    version: int | None
    rows: int | None
    last_run: RunBody | None


class SearchQuery(Search):
    """What is looked for in a dataset. `q` is anywhere in the conversation, or its id; `status` is accepted, needs_revision, dropped …,
    `flag` a filter that found something, `reviewed` a decision, `any` or `none`, `run` the beginning of a run's id. Costs are US
    dollars."""

    model_config = ANSWER

    dataset: str = Field(min_length=1, max_length=200)
    simulated: bool | None = Field(default=None, description=SIMULATED)
    text: Asked = Field(default="", alias="q")
    rows: int = Field(default=ROWS, ge=1, le=1_000)


class FoundConversation(ListedConversation):
    """A conversation in a list. `reviewed` is the last decision, or empty; `costUsd` what its answer has cost."""

    flags: list[str]
    reviewed: str
    run_id: str
    cost_usd: float
    generated_at: datetime


class FoundPage(Answer):
    """One page of what was found; `total` counts all pages."""

    conversations: list[FoundConversation]
    total: int
    page: int
    pages: int


class VersionBody(Answer):
    """A published version. `latest` is the one that trainers load; `splits` count rows."""

    version: int
    latest: bool
    created_at: datetime
    provider: Provider
    rows: int
    splits: dict[str, int]
    needs_revision: int
    dropped: int
    data_sha256: str
    files: list[File]
