"""Finds the plan of a dataset that the ledger knows by its name: for commands and pages that are given no spec."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from convoforge.errors import ConfigError, nearest
from convoforge.models import Provider
from convoforge.planning.spec import ADHOC, DatasetSpec, load_spec
from convoforge.settings import Settings

if TYPE_CHECKING:
    from convoforge.ledger import Ledger
    from convoforge.planning.plan import Plan


def find_plan(ledger: Ledger, settings: Settings, name: str, *, simulated: bool) -> tuple[Plan, int]:
    """The plan that a dataset was last built with, and its id. Where only simulated data has the name, that is meant."""
    from convoforge.dataset.status import plan_dataset
    from convoforge.ledger.runs import find_dataset, list_datasets
    from convoforge.planning.templates import Library

    if name == ADHOC:
        raise ConfigError(f"'{ADHOC}' holds single requests, which have no plan: `convoforge show {ADHOC}` prints them")
    known = ledger.read(list_datasets)
    providers: list[Provider] = ["simulator"] if simulated else ["anthropic", "simulator"]
    for provider in providers:
        row = ledger.read(find_dataset, name, provider)
        if row is not None and row.spec is not None:
            spec = DatasetSpec.from_text(row.spec)
            return plan_dataset(ledger, spec, Library.at(settings.config_dir), provider), int(row.id)
    what = "simulated dataset" if simulated else "dataset"
    names = {one for one, provider in known if provider in providers and one != name}
    if any(one == name and provider in providers for one, provider in known):
        raise ConfigError(
            f"no build of '{name}' has come far enough to keep its spec: build it again, or give the path of its spec"
        )
    elsewhere = " There is a real one, not simulated: ask for that." if any(one == name for one, _ in known) else ""
    raise ConfigError(f"the ledger knows no {what} '{name}'{nearest(name, names)}{elsewhere} Build it first.")


def find_any_plan(ledger: Ledger, settings: Settings, given: str, *, simulated: bool) -> tuple[Plan, int]:
    """As `find_plan`; or the plan of the spec in a .yaml file, whose dataset is registered if it is new."""
    from convoforge.dataset.status import plan_dataset
    from convoforge.ledger.runs import ensure_dataset
    from convoforge.planning.templates import Library

    if not given.endswith((".yaml", ".yml")):
        return find_plan(ledger, settings, given, simulated=simulated)
    provider: Provider = "simulator" if simulated else "anthropic"
    spec = load_spec(given, settings.config_dir, model=settings.model)
    plan = plan_dataset(ledger, spec, Library.at(settings.config_dir), provider)
    return plan, ledger.write(ensure_dataset, spec.name, provider, datetime.now(UTC))


def find_own_plan(ledger: Ledger, settings: Settings, name: str, provider: Provider) -> tuple[Plan, int]:
    """The plan of the dataset that this provider wrote, and of no other, with its id."""
    plan, dataset_id = find_plan(ledger, settings, name, simulated=provider == "simulator")
    if plan.provider != provider:
        raise ConfigError(f"dataset '{name}' is only simulated: build a real one first")
    return plan, dataset_id
