"""The project's specs: whether each is one, what it promises, its price, its model's lifecycle, its budget."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from convoforge.errors import ConfigError
from convoforge.finding import Finding, bad, good, warning
from convoforge.planning.config_files import check_folder
from convoforge.planning.model_facts import snapshot_date, snapshot_facts
from convoforge.planning.options import BuildOptions, resolve_spec
from convoforge.planning.spec import DatasetSpec, judge_spec
from convoforge.pricing import dollars, price_of
from convoforge.settings import Settings

MANY_DAYS = 180
"""Days after which the snapshot of model facts in the package is old."""


def read_specs(settings: Settings) -> tuple[list[DatasetSpec], list[Finding]]:
    """The specs that can be built, as the environment changes them, and what is wrong with the others."""
    specs, faults = [], []
    try:
        check_folder(settings.config_dir)
        files = sorted((settings.config_dir / "datasets").glob("*.yaml"))
        if not files:
            faults.append(warning("specs", f"no spec in {settings.config_dir / 'datasets'}", "convoforge init DIR makes some"))
    except ConfigError as error:
        return [], [bad("specs", str(error), "name the folder that has them: CONVOFORGE_CONFIG_DIR")]
    for file in files:
        try:
            specs.append(resolve_spec(str(file), BuildOptions(), settings))
        except ConfigError as error:
            faults.append(bad("specs", str(error), "mend it: the message names file, place and value"))
    return specs, faults


def check_specs(specs: Sequence[DatasetSpec], now: datetime) -> Iterator[Finding]:
    """What each spec promises, then price and lifecycle of each model."""
    for spec in specs:
        limits, retry, budget = spec.limits, spec.retry, spec.budget
        promise = (
            f"{spec.name}: at most {limits.max_requests:,} requests in {limits.window_seconds:g} s, {limits.concurrency:,} at once; "
            f"a call may take {retry.timeout_seconds:g} s and is tried {retry.max_attempts} times; "
            f"accepted from a score of {spec.quality.min_score}"
        )
        yield good("specs", promise)
        caps = [(budget.run_usd, "a run"), (budget.day_usd, "a day"), (budget.dataset_usd, "in all")]
        named = ", ".join(f"{dollars(cap)} {what}" for cap, what in caps if cap is not None)
        if named:
            yield good("budget", f"{spec.name}: {named}")
        else:
            yield warning("budget", f"{spec.name} has no budget", "give it one: `budget: {run_usd: 5}`")
    asking = [*specs, *(judge_spec(spec, spec.generation.max_tokens) for spec in specs if spec.quality.judge)]
    for model in sorted({spec.model for spec in asking}):
        yield from _check_model(model, [spec for spec in asking if spec.model == model], now)
    if (age := (now.date() - snapshot_date()).days) > MANY_DAYS:
        yield warning(
            "model", f"this release's facts about models are {age} days old", "upgrade convoforge; the API's own win anyway"
        )


def _check_model(model: str, specs: Sequence[DatasetSpec], now: datetime) -> Iterator[Finding]:
    try:
        price = price_of(model, overrides=specs[0].prices, at=now)
        yield good("price", f"{model}: {dollars(price.input)} in, {dollars(price.output)} out for a million tokens")
    except ConfigError as error:
        yield bad("price", str(error), "give its price in the spec, `prices:`, or take a model whose price is known")
    facts = snapshot_facts(model)
    if facts.lifecycle == "active":
        yield good("model", f"{model} is active")
        return
    when = f" ({facts.retires_at})" if facts.retires_at else ""
    state = bad if facts.lifecycle == "retired" else warning
    yield state("model", f"{model} is {facts.lifecycle}{when}", "change `model` in the spec; what is held stays")
