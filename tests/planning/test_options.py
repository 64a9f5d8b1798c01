"""A build's wishes are resolved once: what is announced is what the flow runs, whoever asked for it."""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.utilities.callables import parameter_schema
from pydantic import SecretStr
from recorded import LIBRARY, Dataset

from convoforge.cli import main
from convoforge.cli.build import CommandOptions, _agreed, build
from convoforge.cli.plan import plan
from convoforge.dataset.forecast import Forecast, forecast, read_known, read_known_of_plan
from convoforge.errors import ConfigError
from convoforge.flows.build_dataset import build_dataset
from convoforge.ledger import Ledger
from convoforge.ledger.budgets import describe_full, list_budget_scopes, write_budgets
from convoforge.ledger.runs import ensure_dataset
from convoforge.planning.options import BuildOptions, explain_model, resolve_spec
from convoforge.planning.plan import make_plan
from convoforge.planning.spec import DatasetSpec, change_spec, load_spec
from convoforge.settings import ROOT, Settings

SMALL = {"persona": ("A", "B"), "emotion": ("Fear", "Calm"), "topic": ("x", "y"), "tier": ("template", "scenario", "edge_case")}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as opened:
        yield opened


@pytest.fixture
def settings(tmp_path: Path, ledger: Ledger) -> Settings:
    return Settings(data_dir=tmp_path, config_dir=ROOT / "configs", database=f"sqlite:///{tmp_path / 'ledger.db'}", model=None)


def small(**changes: Any) -> DatasetSpec:
    return change_spec(load_spec("financial-advice", ROOT / "configs"), sample=None, axes=SMALL, **changes)


def written(spec: DatasetSpec, folder: Path) -> Path:
    path = folder / "small.yaml"
    raw = spec.model_dump(mode="json", exclude={"budget", "prices"}) | {"budget": {"run_usd": 10}}
    path.write_text(yaml.safe_dump(raw))
    return path


def of(known: Any, **wishes: Any) -> Forecast:
    return forecast(known, BuildOptions.of(**wishes))


def test_the_flows_form_and_the_command_take_every_option_and_mean_the_same_by_none() -> None:
    fields = {name: field.default for name, field in BuildOptions.model_fields.items()}
    form = inspect.signature(build_dataset.fn).parameters
    assert (list(form), form["options"].default) == (["spec", "options"], BuildOptions())
    schema = parameter_schema(build_dataset).model_dump_for_openapi()
    described = schema["definitions"]["BuildOptions"]["properties"]
    assert set(described) == set(fields)
    assert all(one["description"].endswith(".") for one in [*schema["properties"].values(), *described.values()])
    assert {name: field.default for name, field in CommandOptions.model_fields.items()} == fields
    for command in (build, plan):
        assert inspect.signature(command).parameters["options"].default == CommandOptions()


@pytest.mark.parametrize("command", ["build", "plan"])
def test_a_command_has_an_option_for_every_field_but_the_share_that_may_leave(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    for name, field in BuildOptions.model_fields.items():
        decided = name in ("strand", "approve_above_usd")  # by the answer to the command's question
        assert (f"--{name.replace('_', '-')} " in shown) != decided
        assert (str(field.description)[:20] in shown) != decided


def test_wishes_are_put_into_the_spec_once(settings: Settings) -> None:
    wishes = BuildOptions.of(model="claude-opus-5", concurrency=9, budget=Decimal("1.5"), min_score=8, batch=True)
    spec = resolve_spec("demo", wishes, settings)
    assert (spec.model, spec.limits.concurrency, spec.budget.run_usd) == ("claude-opus-5", 9, Decimal("1.5"))
    assert (spec.quality.min_score, spec.mode) == (8, "batch")
    assert resolve_spec("demo", BuildOptions(), settings) == load_spec("demo", ROOT / "configs")


def test_a_model_of_the_environment_overrides_the_spec_and_says_so(settings: Settings) -> None:
    set_here = settings.model_copy(update={"model": "claude-haiku-5-5"})
    assert resolve_spec("demo", BuildOptions(), set_here).model == "claude-haiku-5-5"
    (said,) = explain_model("demo", BuildOptions(), set_here)
    assert said == "ANTHROPIC_MODEL=claude-haiku-5-5 takes the place of the spec's model 'claude-sonnet-5-5'"
    wish = BuildOptions(model="claude-opus-5")
    assert resolve_spec("demo", wish, set_here).model == "claude-opus-5"
    assert explain_model("demo", wish, set_here) == explain_model("demo", BuildOptions(), settings) == ()


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"budget": Decimal(0)}, "budget"),
        ({"budget": Decimal("NaN")}, "budget"),
        ({"min_score": 11}, "min_score"),
        ({"limit": 0}, "limit"),
    ],
)
def test_a_wish_that_cannot_be_is_named(wishes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        BuildOptions.of(**wishes)


def test_a_higher_threshold_on_a_finished_dataset_is_announced_with_its_price(
    ledger: Ledger, settings: Settings, tmp_path: Path
) -> None:
    spec = small()
    Dataset(ledger, "simulator").build(spec)  # scores of 9
    path = written(spec, tmp_path)
    done = BuildOptions.of(simulate=True)
    raised = BuildOptions.of(simulate=True, min_score=10)
    assert forecast(read_known(resolve_spec(str(path), done, settings), done, settings), done).missing == 0
    seen = forecast(read_known(resolve_spec(str(path), raised, settings), raised, settings), raised)
    assert seen.missing == 24
    assert seen.costs.cost.expected > 0
    # what the flow finds is what was announced: the same function over the same plan
    assert of(read_known_of_plan(ledger, seen.plan, settings), simulate=True, min_score=10).costs == seen.costs
    assert of(read_known_of_plan(ledger, seen.plan, settings), simulate=True, min_score=10, limit=5).missing == 5


def test_the_question_names_the_amount_and_what_no_answer_means(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = of(read_known_of_plan(ledger, make_plan(small(budget={"run_usd": 5}), LIBRARY, "anthropic"), Settings()))
    with pytest.raises(ConfigError, match=r"Spend .*, at most \$5.00\? There is no terminal to ask at: --yes answers it"):
        _agreed(seen)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: "")
    assert not _agreed(seen)
    asked = " ".join(capsys.readouterr().out.split())
    assert asked == f"Spend {seen.costs.cost}, at most $5.00? [y/N]"
    assert "$" in str(seen.costs.cost)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert _agreed(seen)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        ("0.01", "the run budget ($0.01) is less than one call may cost at worst"),
        ("0.08", "pays for about "),
        ("0.10", "of 24: the estimate is"),
        ("100", None),
    ],
)
def test_a_budget_that_cannot_do_it_is_said_before(ledger: Ledger, budget: str, said: str | None) -> None:
    spec = small(budget={"run_usd": Decimal(budget), "day_usd": None, "dataset_usd": None})
    warnings = of(read_known_of_plan(ledger, make_plan(spec, LIBRARY, "anthropic"), Settings())).warnings
    assert [said in one for one in warnings] == ([True] if said else [])
    assert "$0.00" not in " ".join(warnings)


def test_a_budget_without_room_for_one_call_never_reads_as_nothing_of_nothing() -> None:
    cent = 10**10
    assert describe_full("run:r", 0, cent // 10, 6 * cent) == (
        "the run budget ($0.0010) is less than one call may cost at worst ($0.06): raise it"
    )
    assert (
        describe_full("run:r", 2 * cent, 5 * cent, 6 * cent)
        == "run budget reached at $0.02 of $0.05; the next call may cost $0.06"
    )


def test_what_the_day_has_spent_already_counts(ledger: Ledger) -> None:
    spec = small(budget={"run_usd": 5, "day_usd": 20, "dataset_usd": 50})
    dataset = ledger.write(ensure_dataset, spec.name, "anthropic", datetime.now(UTC))
    day = list_budget_scopes("", dataset, datetime.now(UTC))[2]
    budget = {"limit_pico": None, "reserved_pico": 0, "spent_pico": 1999 * 10**10, "maybe_pico": 0}
    ledger.write(write_budgets, {day: budget})
    (warning,) = of(read_known_of_plan(ledger, make_plan(spec, LIBRARY, "anthropic"), Settings())).warnings
    assert warning.startswith("what is left of the day budget ($0.01) is less than one call")


def test_without_a_terminal_a_build_spends_nothing_unless_told_to(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, tmp_path: Path, ledger: Ledger
) -> None:
    spec = small()
    sent: list[dict[str, Any]] = []

    def stop(parameters: dict[str, Any]) -> Any:
        sent.append(parameters)
        raise ConfigError("far enough")

    keyed = settings.model_copy(update={"api_key": SecretStr("sk-none")})
    monkeypatch.setattr("convoforge.cli.build.Settings", lambda: keyed)
    monkeypatch.setattr("convoforge.cli.build._run", stop)
    monkeypatch.setattr("convoforge.cli.build._prepared", lambda **_: nullcontext())
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.raises(ConfigError, match=r"Spend .* There is no terminal to ask at: --yes answers it"):
        build(str(written(spec, tmp_path)), options=CommandOptions(min_score=7), as_json=True)
    assert sent == []
    with pytest.raises(ConfigError, match="far enough"):
        build(str(written(spec, tmp_path)), options=CommandOptions(min_score=7), yes=True, as_json=True)
    assert (sent[-1]["options"].strand, sent[-1]["options"].min_score) == (1.0, 7)
    Dataset(ledger, "anthropic").build(spec)
    with pytest.raises(ConfigError, match="far enough"):  # nothing is missing, so nothing can be spent
        build(str(written(spec, tmp_path)), as_json=True)
    assert sent[-1]["options"].strand == 0.1


def test_plan_takes_what_a_build_would_be_given(
    ledger: Ledger, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = small()
    Dataset(ledger, "simulator").build(spec)
    path = written(spec, tmp_path)
    monkeypatch.setattr("convoforge.cli.plan.Settings", lambda: settings)

    def seen(**wishes: Any) -> Any:
        plan(str(path), options=CommandOptions(simulate=True, **wishes), count=False, as_json=True)
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    assert seen()["to_generate"] == 0
    assert seen(min_score=10)["to_generate"] == 24
    assert seen(min_score=10, limit=3)["to_generate"] == 3
    assert any("less than one call" in note for note in seen(min_score=10, budget=Decimal("0.001"))["notes"])
