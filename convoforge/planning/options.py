"""What somebody wishes of one build, and the spec that comes of it: one model and one function for the command line, the flow's form
and the API, so that what is announced is what is run."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic import Field

from convoforge.errors import ConfigError
from convoforge.models import Frozen, Provider
from convoforge.planning.spec import DatasetSpec, change_spec, check, check_workers, load_spec
from convoforge.settings import Settings

STRAND = 0.1
"""The share of a dataset that a change of its spec may take out without anybody being asked."""


class BuildOptions(Frozen):
    """The wishes of one build. What is not wished for is as the spec says. Money is in US dollars."""

    simulate: bool = False
    limit: int | None = Field(default=None, ge=1)
    model: str | None = None
    concurrency: int | None = Field(default=None, ge=1, le=1_000)
    budget: Decimal | None = None
    min_score: int | None = Field(default=None, ge=1, le=10)
    refresh: bool = False
    retry_refused: bool = False
    workers: int | None = Field(default=None, ge=1, le=100)
    batch: bool = False
    wait: bool = True
    strand: float = Field(default=STRAND, ge=0, le=1)

    @classmethod
    def of(cls, **wishes: Any) -> BuildOptions:
        """The options. Raises `ConfigError`, on one line."""
        options = check(cls, wishes)
        if options.budget is not None and not options.budget > 0:
            raise ConfigError(f"budget {options.budget}: give an amount above 0")
        return options

    @property
    def provider(self) -> Provider:
        """Who answers."""
        return "simulator" if self.simulate else "anthropic"


def resolve_spec(name: str, options: BuildOptions, settings: Settings) -> DatasetSpec:
    """The spec called `name` with a build's wishes put in. Raises `ConfigError` for whatever cannot be."""
    spec = load_spec(name, settings.config_dir, model=settings.model)
    changes: dict[str, Any] = {"model": options.model} if options.model else {}
    changes |= {"mode": "batch"} if options.batch else {}
    wishes = (
        ("limits", "concurrency", options.concurrency),
        ("budget", "run_usd", options.budget),
        ("quality", "min_score", options.min_score),
    )
    changes |= {part: {key: value} for part, key, value in wishes if value is not None}
    spec = change_spec(spec, **changes) if changes else spec
    check_workers(spec, options.workers)
    return spec
