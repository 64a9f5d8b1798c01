"""What is known of a model: from the API where it says so, from a dated snapshot where it does not, never from a name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from support import Project

from convoforge.claude import Claude
from convoforge.dataset.status import plan_dataset
from convoforge.errors import ConfigError
from convoforge.generation.requests import default_spec, open_generator
from convoforge.ledger import Ledger
from convoforge.ledger.model_facts import keep_facts, read_facts
from convoforge.models import ConversationRequest
from convoforge.planning.model_facts import (
    ModelFacts,
    check_max_tokens,
    check_model,
    describe_model,
    is_elsewhere,
    merge_facts,
    pick_facts,
    snapshot_date,
    snapshot_facts,
    snapshot_models,
)
from convoforge.planning.spec import DatasetSpec, Generation, change_spec
from convoforge.planning.templates import Library
from convoforge.planning.thinking import thinking_of
from convoforge.settings import Settings
from convoforge.simulator.catalogue import MODELS
from convoforge.simulator.launch import simulator_process

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)
CONFIGS = Path(__file__).parent.parent.parent / "configs"


def spec(model: str = "claude-sonnet-5-5", **changes: Any) -> DatasetSpec:
    axes = {"persona": ["Anxious Investor"], "emotion": ["Fear"], "topic": ["bonds"]}
    return DatasetSpec.model_validate({"name": "small", "model": model, "templates": ["advice"], "axes": axes, **changes})


def told(model: str, **changes: Any) -> ModelFacts:
    return merge_facts(snapshot_facts(model), pick_facts({**MODELS["claude-sonnet-5-5"].describe(), "id": model, **changes}))


def sent(facts: ModelFacts, **settings: Any) -> dict[str, Any]:
    body: dict[str, Any] = {}
    thinking_of(facts, Generation.model_validate(settings)).add_to(body)
    return body


def test_the_snapshot_has_its_date_and_every_model_whole() -> None:
    assert date(2026, 11, 1) < snapshot_date() <= date(2026, 12, 31)
    for name in snapshot_models():
        facts = snapshot_facts(name)
        assert facts.known
        assert (facts.max_tokens or 0) >= 4_096
        assert (facts.max_input_tokens or 0) >= 200_000
        assert set(facts.efforts_when_off) <= set(facts.efforts)
        assert facts.default_effort is None or facts.default_effort in facts.efforts
        assert facts.thinking or not facts.thinks


@pytest.mark.parametrize("model", sorted(MODELS))
def test_what_the_api_tells_agrees_with_the_snapshot(model: str) -> None:
    assert merge_facts(snapshot_facts(model), pick_facts(MODELS[model].describe())) == snapshot_facts(model)


def test_what_the_api_tells_goes_first() -> None:
    facts = told(
        "claude-sonnet-5-5", max_tokens=2_048, lifecycle="deprecated", retires_at="2027-03-01T00:00:00Z", capabilities=None
    )
    assert (facts.max_tokens, facts.lifecycle, facts.retires_at) == (2_048, "deprecated", date(2027, 3, 1))
    assert facts.structured  # what it does not tell is as the snapshot has it
    assert facts.reported


def test_a_model_newer_than_the_snapshot_is_asked_as_the_api_says() -> None:
    facts = told("claude-sonnet-6")
    assert (facts.known, facts.structured, facts.max_tokens) == (True, True, 128_000)
    assert sent(facts) == {"thinking": {"type": "between_tools"}}
    assert sent(facts, thinking="adaptive", effort="max")["output_config"] == {"effort": "max"}
    with pytest.raises(ConfigError, match="with thinking off"):
        sent(facts, effort="xhigh")
    always = merge_facts(snapshot_facts("claude-opus-6"), pick_facts(MODELS["claude-opus-5-5"].describe()))
    assert sent(always) == {"output_config": {"effort": "low"}}


@pytest.mark.parametrize("model", ["house-model-7", "claude-sonnet-10-1", "anthropic/claude-sonnet-5-5", ""])
def test_no_name_is_taken_for_a_fact(model: str) -> None:
    facts = snapshot_facts(model)
    assert (facts.known, facts.structured, facts.temperature, facts.thinking) == (False, False, False, ())
    assert any("nothing is known of the model" in note for note in describe_model(facts, Generation()))


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda part: st.lists(part) | st.dictionaries(
    st.sampled_from(["capabilities", "thinking", "types", "effort", "adaptive", "supported", "max_tokens", "lifecycle", "retires_at"]),
    part,
)))  # fmt: skip
def test_whatever_a_server_tells_is_read_or_left_out(said: Any) -> None:
    picked = pick_facts(said if isinstance(said, dict) else {})
    facts = merge_facts(snapshot_facts("claude-sonnet-5-5"), json.loads(json.dumps(picked)))
    assert facts.lifecycle in ("active", "deprecated", "retired")
    assert facts.max_tokens is not None and facts.max_tokens > 0


def test_what_cannot_work_is_an_error_before_anything_is_sent() -> None:
    check_model(snapshot_facts("claude-sonnet-5-5"), spec(), elsewhere=False)
    with pytest.raises(ConfigError, match=r"is retired since 28 October 2025.*`model`"):
        check_model(snapshot_facts("claude-3-5-sonnet-20241022"), spec(), elsewhere=False)
    with pytest.raises(ConfigError, match=r"max_tokens: 4,096 is more than the 2,048"):
        check_model(told("claude-sonnet-5-5", max_tokens=2_048), spec(), elsewhere=False)
    none = told("claude-sonnet-5-5", capabilities={"batch": {"supported": False}})
    check_model(none, spec(), elsewhere=False)
    with pytest.raises(ConfigError, match="takes no message batches"):
        check_model(none, spec(mode="batch"), elsewhere=False)


def test_another_server_may_answer_for_what_anthropic_has_retired_unless_it_says_otherwise() -> None:
    retired = snapshot_facts("claude-opus-4-1")
    check_model(retired, spec(), elsewhere=True)
    assert any("Anthropic answers no request" in note for note in describe_model(retired, Generation()))
    with pytest.raises(ConfigError, match="retired"):
        check_model(told("claude-opus-4-1", lifecycle="retired"), spec(), elsewhere=True)
    assert not is_elsewhere("anthropic", "https://api.anthropic.com")
    assert is_elsewhere("anthropic", "http://127.0.0.1:9")
    assert not is_elsewhere("simulator", "http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("claude-sonnet-4-5", "30 November 2026"),
        ("claude-opus-4-5-20251101", "22 January 2027"),
        ("claude-mythos-preview", "30 June 2026"),
    ],
)
def test_a_deprecated_model_is_told_with_its_date(model: str, said: str) -> None:
    notes = list(describe_model(snapshot_facts(model), Generation()))
    assert any("is deprecated, and will be retired on " + said in note for note in notes)
    assert list(describe_model(snapshot_facts("claude-sonnet-5-5"), Generation())) == []


# --- kept in the ledger ---


def test_what_was_told_holds_for_a_day_and_for_unknown_models_longer(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for model in ("claude-sonnet-5-5", "claude-sonnet-6"):
            assert ledger.read(read_facts, "anthropic", model, NOW) == snapshot_facts(model)
            ledger.write(keep_facts, "anthropic", model, pick_facts({"max_tokens": 100_000}), NOW - timedelta(days=9))
            ledger.write(keep_facts, "anthropic", model, pick_facts({"max_tokens": 5_000}), NOW)
        for later, known, new in ((timedelta(hours=23), 5_000, 5_000), (timedelta(hours=25), 128_000, 5_000)):
            assert ledger.read(read_facts, "anthropic", "claude-sonnet-5-5", NOW + later).max_tokens == known
            assert ledger.read(read_facts, "anthropic", "claude-sonnet-6", NOW + later).max_tokens == new
        assert ledger.read(read_facts, "simulator", "claude-sonnet-5-5", NOW).max_tokens == 128_000


def test_a_plan_goes_by_what_the_ledger_knows(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        no_schema = pick_facts({"capabilities": {"structured_outputs": {"supported": False}}})
        before = plan_dataset(ledger, spec(), Library.at(CONFIGS), "anthropic")
        ledger.write(keep_facts, "anthropic", "claude-sonnet-5-5", no_schema, datetime.now(UTC))
        after = plan_dataset(ledger, spec(), Library.at(CONFIGS), "anthropic")
    assert len(after.prompt(after.cells[0], 0).user) > len(before.prompt(before.cells[0], 0).user)
    assert any("takes no structured output" in note for note in after.notes)


# --- asked over HTTP ---


@contextmanager
def models_route(body: Any, status: int = 200) -> Iterator[str]:
    """A server that says this of every model, and signs as a simulator does."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.json_response(body, status=status, headers={"x-convoforge-simulator": "1"})

    async def start() -> web.ServerRunner:
        runner = web.ServerRunner(web.Server(answer))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner

    import threading

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    runner = asyncio.run_coroutine_threadsafe(start(), loop).result(10)
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def open_with(url: str, folder: Path, max_tokens: int | None = None, model: str = "claude-sonnet-5-5", **changes: Any) -> Any:
    """What a generator says of a request, or raises."""

    async def run() -> Any:
        settings = Settings(base_url=url, data_dir=folder, config_dir=CONFIGS)
        wanted = change_spec(default_spec(model), **changes) if changes else default_spec(model)
        async with open_generator(settings=settings, simulate=True, spec=wanted) as generator:
            values = {"template": "advice", "persona": "Anxious Investor", "emotion": "Fear", "topic": "bonds"}
            return await generator.generate(ConversationRequest(**values, max_tokens=max_tokens))

    return asyncio.run(run())


@pytest.mark.server
def test_a_run_asks_the_api_and_keeps_what_it_says(tmp_path: Path) -> None:
    with simulator_process() as url:
        outcome = open_with(url, tmp_path)
    assert outcome.conversation is not None
    with Ledger(Settings(data_dir=tmp_path).database_url) as ledger:
        facts = ledger.read(read_facts, "simulator", "claude-sonnet-5-5", datetime.now(UTC))
    assert facts.reported
    assert facts == snapshot_facts("claude-sonnet-5-5")


def test_a_model_that_the_api_says_is_retired_is_not_sent_a_thing(tmp_path: Path) -> None:
    with models_route({"id": "claude-sonnet-5-5", "lifecycle": "retired"}) as url, pytest.raises(ConfigError, match="is retired"):
        open_with(url, tmp_path)


def test_more_tokens_than_the_api_gives_are_refused_in_spec_and_request(tmp_path: Path) -> None:
    with models_route({"id": "claude-sonnet-5-5", "max_tokens": 4_096}) as url:
        with pytest.raises(ConfigError, match=r"max_tokens: 8,000 is more than the 4,096"):
            open_with(url, tmp_path, generation={"max_tokens": 8_000})
        with pytest.raises(ConfigError, match=r"max_tokens: 5,000 is more than the 4,096"):
            open_with(url, tmp_path, max_tokens=5_000)
    check_max_tokens(ModelFacts("house-model-7"), Generation(max_tokens=21_000))


@pytest.mark.parametrize("status", [404, 405, 501])
def test_a_server_without_that_route_leaves_the_snapshot(tmp_path: Path, status: int) -> None:
    async def facts(url: str) -> ModelFacts:
        claude = Claude(["sk-x"], url, "claude-opus-5-5")
        try:
            await claude.check()
        finally:
            await claude.aclose()
        return claude.facts

    with models_route({"detail": "Not Found"}, status) as url:
        found = asyncio.run(facts(url))
    assert found == snapshot_facts("claude-opus-5-5")
    assert not found.reported


# --- the command ---


def test_plan_says_what_will_not_work_and_what_is_going_away(project: Project) -> None:
    project.spec("gone", model="claude-3-5-sonnet-20241022")
    project.spec("going", model="claude-sonnet-4-5")
    project.spec("thinks", model="claude-opus-5-5")
    project.spec("much", model="claude-haiku-4-5", generation={"thinking": "adaptive"})
    gone = project.run("plan", "gone")
    assert gone.code == 2
    assert "is retired since 28 October 2025" in " ".join(gone.err.split())
    assert project.run("plan", "much").code == 2
    going = project.run("plan", "going", "--json").last
    assert any("deprecated, and will be retired on 30 November 2026" in note for note in going["notes"])
    thinks = project.run("plan", "thinks", "--json").last
    assert any("cannot be kept from thinking: it thinks at effort low" in note for note in thinks["notes"])
