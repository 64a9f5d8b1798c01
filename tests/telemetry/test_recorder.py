"""What OpenTelemetry is told of calls, and what it costs where nobody listens."""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from collecting import collector
from watching import free_port

from convoforge import telemetry
from convoforge.ledger.attempts import AnswerRow, Completion, Intent
from convoforge.models import Provider, Purpose, Usage
from convoforge.settings import Settings

pytest.importorskip("opentelemetry.exporter", reason="the extra otel is not installed")

RUN = "0123456789abcdef0123456789abcdef"
BEGAN = datetime(2026, 11, 27, 9, tzinfo=UTC)
SECRET = "Dear diary"
OLD = {"gen_ai.client.operation.duration", "gen_ai.client.token.usage", "gen_ai.usage.cache_creation.input_tokens"}
"""What the conventions have renamed."""


def call(
    status: str = "succeeded", provider: Provider = "anthropic", purpose: Purpose = "conversation", **changes: Any
) -> Completion:
    """A call that took two seconds; its answer and its error hold what nobody else may read."""
    intent = Intent(
        request_id=7,
        attempt=2,
        run_id=RUN,
        dataset_id=1,
        owner="o",
        provider=provider,
        model="claude-sonnet-5-5",
        template="advice",
        api_key="sk-fingerprint",
        price="p",
        started_at=BEGAN,
        reserve_pico=1,
        limits={},
        purpose=purpose,
    )
    answer = AnswerRow("c", "f", "ok", SECRET, SECRET, SECRET, SECRET, "1/3f2a9c01", None, False, None, None, None)
    usage = Usage(input_tokens=600, output_tokens=900, cache_read_tokens=100, cache_write_5m_tokens=50, thinking_tokens=40)
    how = {"usage": usage, "cost_pico": 15_000_000_000, "answer": answer, "error": SECRET, "reason": SECRET, **changes}
    return Completion(intent, status, "billed", BEGAN + timedelta(seconds=2), 2_000, stop_reason="end_turn", **how)


@pytest.fixture
def settings() -> Settings:
    return Settings(base_url="http://claude.example:8080")


def test_calls_are_told_by_the_conventions_in_the_trace_of_their_run_and_no_text_or_key_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from convoforge.telemetry.recorder import Recorder

    with collector() as seen:
        monkeypatch.setenv(telemetry.ENDPOINT, seen.url)
        recorder = Recorder(settings)
        with recorder.span("run sheep", {"convoforge.dataset": "sheep"}, RUN), recorder.span("shard", {"convoforge.requests": 1}):
            recorder.record(call())
            recorder.record(
                call("failed", usage=Usage(), cost_pico=0, error_kind="rate_limit_error", http_status=429, answer=None)
            )
        recorder.record(call(provider="simulator", purpose="judge"))
        recorder.flush()
    [run], [shard] = seen.named("run sheep"), seen.named("shard")
    good, bad, alone = seen.named("chat claude-sonnet-5-5")
    assert (run["trace"], run["parent"], run["service"]) == (RUN, "", "convoforge")
    assert (shard["trace"], shard["parent"], good["parent"], bad["parent"]) == (RUN, run["id"], shard["id"], shard["id"])
    assert alone["parent"] == "" and alone["trace"] not in ("", RUN)
    assert (good["kind"], good["seconds"], good["status"], bad["status"]) == (3, 2.0, 0, 2)
    told = good["attributes"]
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "anthropic",
        "gen_ai.request.model": "claude-sonnet-5-5",
        "gen_ai.response.model": "claude-sonnet-5-5",
        "gen_ai.response.finish_reasons": ["end_turn"],
        "gen_ai.prompt.name": "advice",
        "gen_ai.prompt.version": "1/3f2a9c01",
        "gen_ai.usage.input_tokens": 750,  # all that was read, as the conventions count
        "gen_ai.usage.output_tokens": 900,
        "gen_ai.usage.cache_read.input_tokens": 100,
        "gen_ai.usage.cache_write.input_tokens": 50,
        "gen_ai.usage.reasoning.output_tokens": 40,
        "server.address": "claude.example",
        "server.port": 8080,
        "convoforge.run.id": RUN,
        "convoforge.attempt": 2,
        "convoforge.cost_usd": 0.015,
        "convoforge.simulated": False,
    }
    assert alone["attributes"]["convoforge.simulated"] is True and "server.address" not in alone["attributes"]
    assert alone["attributes"]["convoforge.template"] == "advice" and "gen_ai.prompt.name" not in alone["attributes"]
    assert OLD.isdisjoint(seen.points) and not any(OLD & one["attributes"].keys() for one in seen.spans)
    for points in seen.points.values():
        assert {one["attributes"]["convoforge.simulated"] for one in points} == {True, False}
    assert expected.items() <= told.items() and "error.type" not in told
    assert (bad["attributes"]["error.type"], bad["attributes"]["http.response.status_code"]) == ("rate_limit_error", 429)
    assert SECRET.encode() not in seen.raw and b"sk-fingerprint" not in seen.raw
    usage = "gen_ai.client.inference.usage"
    assert sum(one["value"] for one in seen.points[f"{usage}.input_tokens"]) == 1_500
    assert {one["attributes"]["gen_ai.token.modality"] for one in seen.points[f"{usage}.output_tokens"]} == {"text", "unknown"}
    durations = seen.points["gen_ai.client.inference.duration"]
    assert {(one["value"], one["attributes"].get("error.type"), one["unit"]) for one in durations} == {
        (1, "rate_limit_error", "s"),
        (1, None, "s"),  # two of them: one is simulated
    }
    assert sum(one["value"] for one in seen.points["convoforge.cost"]) == pytest.approx(0.03)


def test_a_collector_that_is_away_holds_nobody_up_and_is_complained_of_once(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from convoforge.telemetry.recorder import FLUSH_SECONDS, Recorder

    monkeypatch.setenv(telemetry.ENDPOINT, f"http://127.0.0.1:{free_port()}")
    recorder = Recorder(settings)
    began = time.thread_time()
    for _ in range(2_500):  # more than the queue holds
        recorder.record(call())
    assert (time.thread_time() - began) / 2_500 < 0.001
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        recorder.flush()
    assert time.monotonic() - began < FLUSH_SECONDS + 1
    told = [one for one in caplog.records if "collector takes nothing" in one.message]
    assert len(told) == 1


@pytest.mark.server
def test_where_nothing_is_set_nothing_is_imported() -> None:
    script = (
        "import sys, convoforge.generation.generator, convoforge.telemetry as telemetry\n"
        "with telemetry.trace_run('r', 'd', 'simulator', joined=False), telemetry.trace_shard(3): telemetry.record_attempt(None)\n"
        "telemetry.flush()\n"
        "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(telemetry.ENDPOINT, "http://127.0.0.1:4318")
    assert telemetry.explain_missing() == ""
    monkeypatch.setattr(telemetry, "find_spec", lambda _: None)
    assert telemetry.explain_missing().endswith("pip install 'convoforge[otel]', or unset the variable")
    telemetry.find_recorder.cache_clear()
    assert telemetry.find_recorder() is None
    telemetry.find_recorder.cache_clear()
