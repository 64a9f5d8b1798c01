"""The options of one build, and the spec they result in. The command line, the flow's form and the API share one model and one function,
so what is announced is what runs."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import Field

from convoforge.errors import ConfigError, nearest, shown
from convoforge.models import Provider
from convoforge.planning.config_files import check, read_yaml
from convoforge.planning.forms import FormSection, ModelName, UsDollars, list_specs
from convoforge.planning.spec import DatasetSpec, change_spec, check_workers, find_spec, load_spec
from convoforge.settings import Settings

STRAND = 0.1
"""The share of a dataset that a change of its spec may take out without anybody being asked."""


class BuildOptions(FormSection):
    """What this run does otherwise than the spec says. What is left out is as in the spec."""

    simulate: bool = Field(default=False, description="Let a local simulator answer: no key, no cost.")
    limit: int | None = Field(
        default=None, ge=1, title="What: limit", description="Maximum number of conversations to generate in this run."
    )
    model: ModelName | None = Field(default=None, title="What: model", description="Use this model instead of the spec's.")
    min_score: int | None = Field(
        default=None, ge=1, le=10, title="What: min_score", description="Lowest accepted score, 1 to 10."
    )
    budget: Annotated[Decimal, UsDollars] | None = Field(
        default=None, gt=0, title="Money: budget", description="Maximum spend of this run, in US dollars."
    )
    approve_above_usd: Annotated[Decimal, UsDollars] | None = Field(
        default=None,
        gt=0,
        title="Money: approve_above_usd",
        description="Wait for a yes where the estimate is above this, in US dollars. Without it: as the spec says.",
    )
    concurrency: int | None = Field(
        default=None, ge=1, le=1_000, title="Speed: concurrency", description="Maximum number of calls in flight at once."
    )
    workers: int | None = Field(
        default=None,
        ge=1,
        le=100,
        title="Speed: workers",
        description="Let this many workers of the work pool generate beside this run.",
    )
    batch: bool = Field(
        default=False, title="Speed: batch", description="Use message batches: half the price, answers within a day."
    )
    wait: bool = Field(
        default=True,
        title="Speed: wait",
        description="Wait for message batches. Otherwise the next build or the collector picks them up.",
    )
    refresh: bool = Field(
        default=False, title="Again: refresh", description="Regenerate, and pay for, conversations whose prompt has changed."
    )
    retry_refused: bool = Field(
        default=False, title="Again: retry_refused", description="Send again, unchanged, what the API refused in earlier runs."
    )
    strand: float = Field(
        default=STRAND,
        ge=0,
        le=1,
        title="Safety: strand",
        description="Maximum share of the accepted conversations that a changed spec may take out of the dataset: 0.1 is 10 percent.",
    )

    @classmethod
    def of(cls, **wishes: Any) -> BuildOptions:
        """The options. Raises `ConfigError`, on one line."""
        return check(cls, wishes)

    @property
    def provider(self) -> Provider:
        return "simulator" if self.simulate else "anthropic"


def explain_model(name: str, options: BuildOptions, settings: Settings) -> tuple[str, ...]:
    """What to say where `ANTHROPIC_MODEL` takes the place of a model that the spec names; nothing elsewhere."""
    if settings.model is None or options.model is not None:
        return ()
    named = read_yaml(find_spec(name, settings.config_dir)).get("model")
    if named in (None, settings.model):
        return ()
    return (f"ANTHROPIC_MODEL={settings.model} takes the place of the spec's model {shown(named)}",)


def resolve_known_spec(name: str, options: BuildOptions, settings: Settings) -> DatasetSpec:
    """As `resolve_spec`, for a name that comes over a network: only what lies in the config folder, never a path."""
    known = list_specs(settings.config_dir)
    if name not in known:
        raise ConfigError(f"unknown spec {shown(name)}{nearest(name, known)}")
    return resolve_spec(name, options, settings)


def resolve_spec(name: str, options: BuildOptions, settings: Settings) -> DatasetSpec:
    """The spec called `name` with a build's wishes put in; the model is the option's, else that of `ANTHROPIC_MODEL`.

    Raises `ConfigError` for whatever cannot be.
    """
    spec = load_spec(name, settings.config_dir, model=settings.model)
    changes: dict[str, Any] = {"model": options.model} if options.model else {}
    changes |= {"mode": "batch"} if options.batch else {}
    wishes = (
        ("limits", "concurrency", options.concurrency),
        ("budget", "run_usd", options.budget),
        ("budget", "approve_above_usd", options.approve_above_usd),
        ("quality", "min_score", options.min_score),
    )
    changes |= {part: {key: value} for part, key, value in wishes if value is not None}
    spec = change_spec(spec, **changes) if changes else spec
    check_workers(spec, options.workers)
    return spec
