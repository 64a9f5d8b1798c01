"""The real SDK hands over batches to the simulator, and finds what it would find at the API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from typing import Any

import anthropic
import httpx2
import pytest
from anthropic.types.messages import MessageBatch, MessageBatchIndividualResponse

from convoforge.claude import read_usage
from convoforge.errors import ConfigError
from convoforge.simulator.client import SimulatorControl
from convoforge.simulator.faults import BROKEN, ERRORS, ODD
from convoforge.simulator.launch import simulator_process
from convoforge.simulator.options import SimulatorOptions

Async = anthropic.AsyncAnthropic
Wanted = Callable[..., dict[str, Any]]

pytestmark = pytest.mark.anyio

LONG_SYSTEM = [{"type": "text", "text": "Guidance. " * 300, "cache_control": {"type": "ephemeral"}}]
DROPPED = (anthropic.APIConnectionError, httpx2.TransportError)
HEADERS = {"x-api-key": "sk-sim-test", "anthropic-version": "2026-10-21"}


@pytest.fixture
async def client(control: SimulatorControl) -> AsyncIterator[Async]:
    async with open_client(control.url) as client:
        yield client


@pytest.fixture(scope="module")
def slow() -> Iterator[SimulatorControl]:
    """A simulator whose batches take an hour."""
    with simulator_process(batch_seconds=3600) as url:
        yield SimulatorControl(url)


def open_client(url: str, key: str = "sk-sim-test") -> Async:
    return anthropic.AsyncAnthropic(base_url=url, api_key=key, max_retries=0, timeout=30.0)


@pytest.fixture
def hand_over(wanted: Wanted) -> Callable[..., Awaitable[MessageBatch]]:
    """A batch of conversations, one for each variant: ``hand_over(client, 1, 2, 3, **changes)``; their custom ids are v1, v2, v3."""

    async def hand_over(client: Async, *variants: object, **changes: Any) -> MessageBatch:
        requests: Any = [{"custom_id": f"v{variant}", "params": wanted(variant, **changes)} for variant in variants]
        return await client.messages.batches.create(requests=requests)

    return hand_over


HandOver = Callable[..., Awaitable[MessageBatch]]


async def results_of(client: Async, batch: MessageBatch) -> list[MessageBatchIndividualResponse]:
    return [result async for result in await client.messages.batches.results(batch.id)]


async def by_id(client: Async, batch: MessageBatch) -> dict[str, Any]:
    return {result.custom_id: result.result for result in await results_of(client, batch)}


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def counts(batch: MessageBatch) -> dict[str, int]:
    """How many requests are how far, without those that are none."""
    return {kind: number for kind, number in batch.request_counts.model_dump().items() if number}


async def test_a_batch_is_in_progress_when_made_and_has_ended_when_looked_at(client: Async, hand_over: HandOver) -> None:
    made = await hand_over(client, 1, 2)
    assert made.id.startswith("msgbatch_sim_")
    assert (made.type, made.processing_status, counts(made)) == ("message_batch", "in_progress", {"processing": 2})
    assert made.results_url is made.ended_at is made.cancel_initiated_at is made.archived_at is None
    assert made.expires_at - made.created_at == timedelta(hours=24)
    assert abs(made.created_at.timestamp() - time.time()) < 60
    ended = await client.messages.batches.retrieve(made.id)
    assert (ended.id, ended.processing_status, counts(ended)) == (made.id, "ended", {"succeeded": 2})
    assert ended.ended_at is not None
    assert ended.ended_at >= ended.created_at == made.created_at
    assert ended.results_url == f"{str(client.base_url).rstrip('/')}/v1/messages/batches/{made.id}/results"
    assert set(ended.to_dict()) == set(MessageBatch.model_fields)
    assert (await client.messages.batches.retrieve(made.id)) == ended


async def test_every_answer_is_signed_by_the_simulator(client: Async, hand_over: HandOver) -> None:
    batch = await hand_over(client, 1)
    for answer in (
        await client.messages.batches.with_raw_response.retrieve(batch.id),
        await client.messages.batches.with_raw_response.list(),
    ):
        assert answer.headers["x-convoforge-simulator"] == "1"
    async with client.messages.batches.with_streaming_response.results(batch.id) as streamed:
        assert streamed.headers["x-convoforge-simulator"] == "1"


async def test_a_request_in_a_batch_gets_the_very_answer_it_gets_online(
    client: Async, hand_over: HandOver, wanted: Wanted
) -> None:
    batch = await hand_over(client, *range(20))
    results = await by_id(client, batch)
    for variant in range(20):
        online = await client.messages.create(**wanted(variant))
        batched: anthropic.types.Message = results[f"v{variant}"].message
        assert (text_of(batched), batched.stop_reason, batched.model) == (text_of(online), "end_turn", online.model)
        assert read_usage(batched.usage.model_dump()) == read_usage(online.usage.model_dump())
        assert (batched.usage.service_tier, online.usage.service_tier) == ("batch", "standard")
        assert batched.id.startswith("msg_")
        assert batched.id != online.id
    assert len({text_of(result.message) for result in results.values()}) == 20


async def test_results_come_in_another_order_than_the_requests_and_each_once(client: Async, hand_over: HandOver) -> None:
    for size in (2, 3, 50):
        made = [f"v{variant}" for variant in range(size)]
        batch = await hand_over(client, *range(size))
        come = [result.custom_id for result in await results_of(client, batch)]
        assert come != made
        assert sorted(come) == sorted(made)
        assert come == [result.custom_id for result in await results_of(client, batch)]


async def test_results_are_a_stream_of_json_lines(client: Async, hand_over: HandOver) -> None:
    batch = await client.messages.batches.retrieve((await hand_over(client, *range(100))).id)
    assert batch.results_url is not None
    async with httpx2.AsyncClient() as plain, plain.stream("GET", batch.results_url, headers=HEADERS) as answer:
        pieces = [piece async for piece in answer.aiter_raw()]
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/x-jsonl")
    assert answer.headers["transfer-encoding"] == "chunked"
    assert len(pieces) > 1
    lines = [json.loads(line) for line in b"".join(pieces).splitlines()]
    assert [set(line) for line in lines] == [{"custom_id", "result"}] * 100
    assert {line["result"]["type"] for line in lines} == {"succeeded"}


async def test_the_newest_batch_is_listed_first_and_pages_join_up(client: Async, hand_over: HandOver) -> None:
    ids = [(await hand_over(client, 1)).id for _ in range(5)][::-1]
    page = await client.messages.batches.list(limit=2)
    assert ([batch.id for batch in page.data], page.has_more, page.first_id, page.last_id) == (ids[:2], True, ids[0], ids[1])
    assert {batch.processing_status for batch in page.data} == {"ended"}
    assert [batch.id async for batch in client.messages.batches.list(limit=2)] == ids
    assert [batch.id for batch in (await client.messages.batches.list()).data] == ids
    last = await client.messages.batches.list(limit=2, after_id=ids[2])
    assert ([batch.id for batch in last.data], last.has_more) == (ids[3:], False)
    behind = await client.messages.batches.list(after_id=ids[-1])
    assert (behind.data, behind.has_more, behind.first_id) == ([], False, None)


async def test_without_a_limit_twenty_are_listed(client: Async, hand_over: HandOver) -> None:
    for _ in range(21):
        await hand_over(client, 1)
    page = await client.messages.batches.list()
    assert (len(page.data), page.has_more) == (20, True)


@pytest.mark.parametrize("query", [{"limit": 0}, {"limit": 1001}, {"after_id": "msgbatch_x"}])
async def test_a_page_that_cannot_be_is_refused(client: Async, query: dict[str, Any]) -> None:
    with pytest.raises(anthropic.BadRequestError):
        await client.messages.batches.list(**query)


async def test_another_key_sees_nothing_of_a_batch(client: Async, control: SimulatorControl, hand_over: HandOver) -> None:
    batch = await hand_over(client, 1)
    async with open_client(control.url, "sk-sim-other") as other:
        assert (await other.messages.batches.list()).data == []
        with pytest.raises(anthropic.NotFoundError, match=f"Message Batch {batch.id} not found") as caught:
            await other.messages.batches.retrieve(batch.id)
        assert caught.value.type == "not_found_error"
        assert httpx2.get(results_url(control, batch), headers={**HEADERS, "x-api-key": "sk-sim-other"}).status_code == 404
    assert httpx2.get(results_url(control, batch), headers=HEADERS).status_code == 200
    assert [found.id for found in (await client.messages.batches.list()).data] == [batch.id]


@pytest.mark.parametrize("key", ["sk-sim-wrong-1", ""])
async def test_a_wrong_key_is_turned_away_at_every_call(control: SimulatorControl, key: str) -> None:
    root = f"{control.url}/v1/messages/batches"
    for method, url in (
        ("POST", root),
        ("GET", root),
        ("GET", f"{root}/msgbatch_x"),
        ("GET", f"{root}/msgbatch_x/results"),
    ):
        answer = httpx2.request(method, url, headers={**HEADERS, "x-api-key": key})
        assert (answer.status_code, answer.json()["error"]["type"]) == (401, "authentication_error")


PARAMS = {"model": "claude-sonnet-5-5", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}
HI = {"custom_id": "a", "params": PARAMS}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"requests": [{**HI, "custom_id": "a b"}]}, "custom_id 'a b' should match pattern"),
        ({"requests": [HI, {**HI, "custom_id": ""}]}, "should match pattern"),
        ({"requests": [{**HI, "custom_id": "a\n"}]}, "should match pattern"),
        ({"requests": [{**HI, "custom_id": "a" * 65}]}, "should match pattern"),
        ({"requests": [{**HI, "custom_id": 5}]}, "objects with custom_id and params"),
        ({"requests": [{"params": PARAMS}]}, "objects with custom_id and params"),
        ({"requests": [{"custom_id": "a"}]}, "objects with custom_id and params"),
        ({"requests": [HI, {**HI, "custom_id": "b"}, HI]}, "Duplicate custom_id found: a"),
        ({"requests": []}, "1 to 100000 items, not 0"),
        ({"requests": [{**HI, "custom_id": str(number)} for number in range(100_001)]}, "1 to 100000 items"),
        ({"requests": "all"}, "objects with custom_id and params"),
        ({}, "objects with custom_id and params"),
        ([], "valid dictionary"),
    ],
)
async def test_a_batch_the_api_would_refuse_is_refused_and_not_made(
    client: Async, control: SimulatorControl, body: Any, said: str
) -> None:
    answer = httpx2.post(f"{control.url}/v1/messages/batches", json=body, headers=HEADERS)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert said in answer.json()["error"]["message"]
    assert (await client.messages.batches.list()).data == []
    assert control.rows() == []


async def test_sixty_four_characters_are_not_too_long(client: Async) -> None:
    batch = await client.messages.batches.create(requests=[{"custom_id": "aZ0_-" * 12 + "long", "params": PARAMS}])  # type: ignore[typeddict-item]
    assert counts(batch) == {"processing": 1}


async def test_a_batch_may_be_longer_than_a_message_but_not_longer_than_256_megabytes(control: SimulatorControl) -> None:
    url, megabyte = f"{control.url}/v1/messages/batches", b"x" * 1_048_576
    head, tail = json.dumps({"requests": [HI]}).encode().split(b"Hi")
    with httpx2.Client(timeout=60) as plain:
        online = plain.post(f"{control.url}/v1/messages", content=iter([megabyte] * 40), headers=HEADERS)
        batched = plain.post(url, content=iter([head, *[megabyte] * 40, tail]), headers=HEADERS)
        too_long = plain.post(url, content=iter([head, *[megabyte] * 256, tail]), headers=HEADERS)
    assert (online.status_code, batched.status_code, too_long.status_code) == (413, 200, 413)
    assert too_long.json()["error"]["type"] == "request_too_large"


async def test_a_bad_request_becomes_an_error_of_its_own_when_its_turn_comes(client: Async, control: SimulatorControl) -> None:
    requests: Any = [
        {"custom_id": custom_id, "params": {**PARAMS, **changes}}
        for custom_id, changes in {
            "good": {},
            "streamed": {"stream": True},
            "empty": {"messages": []},
            "warm": {"temperature": 0.5},
            "nothing": {"max_tokens": 0},
            "unknown": {"model": "claude-sonnet-9"},
        }.items()
    ]
    batch = await client.messages.batches.create(requests=requests)
    results = await by_id(client, batch)
    assert results.pop("good").type == "succeeded"
    assert {result.type for result in results.values()} == {"errored"}
    assert {result.error.type for result in results.values()} == {"error"}
    said = {custom_id: (result.error.error.type, result.error.error.message) for custom_id, result in results.items()}
    assert said == {
        "streamed": ("invalid_request_error", "stream: the simulator does not stream answers"),
        "empty": ("invalid_request_error", "messages: at least one message is required"),
        "warm": ("invalid_request_error", "temperature: Extra inputs are not permitted"),
        "nothing": ("invalid_request_error", "max_tokens: must be greater than or equal to 1"),
        "unknown": ("not_found_error", "model: claude-sonnet-9"),
    }
    assert counts(await client.messages.batches.retrieve(batch.id)) == {"succeeded": 1, "errored": 5}
    assert control.usage()["batch"]["outcomes"] == {"ok": 1, "400": 4, "404": 1}


@pytest.mark.parametrize("kind", [*ERRORS, *BROKEN])
async def test_a_fault_that_is_an_error_is_that_requests_result_and_costs_nothing(
    client: Async, control: SimulatorControl, hand_over: HandOver, kind: str
) -> None:
    control.script(kind, match="Variant: 2\n")
    batch = await hand_over(client, 1, 2, 3)
    results = await by_id(client, batch)
    assert {custom_id: result.type for custom_id, result in results.items()} == {
        "v1": "succeeded",
        "v2": "errored",
        "v3": "succeeded",
    }
    assert results["v2"].error.error.type == (ERRORS[kind][0] if kind in ERRORS else "api_error")
    row = next(row for row in control.rows() if row["custom_id"] == "v2")
    assert (row["outcome"], row["status"], row["billed"], row["message_id"]) == (
        kind,
        int(kind) if kind in ERRORS else 500,
        False,
        None,
    )


@pytest.mark.parametrize("kind", ODD)
async def test_an_odd_answer_is_the_same_as_online_and_is_billed(
    client: Async, control: SimulatorControl, hand_over: HandOver, wanted: Wanted, kind: str
) -> None:
    control.script(kind, kind)
    online = await client.messages.create(**wanted("f"))
    batched: anthropic.types.Message = (await by_id(client, await hand_over(client, "f")))["vf"].message
    assert (text_of(batched), batched.stop_reason) == (text_of(online), online.stop_reason)
    plain = await client.messages.create(**wanted("f"))
    assert (text_of(batched), batched.stop_reason) != (text_of(plain), plain.stop_reason)
    assert [(row["outcome"], row["billed"]) for row in control.rows()] == [(kind, True), (kind, True), ("ok", True)]


@pytest.mark.parametrize("kind", ["expired", "canceled"])
async def test_a_request_can_expire_or_be_canceled_alone_and_costs_nothing(
    client: Async, control: SimulatorControl, hand_over: HandOver, kind: str
) -> None:
    control.script("ok", kind)
    batch = await hand_over(client, 1, 2)
    assert {custom_id: result.to_dict() for custom_id, result in (await by_id(client, batch)).items() if custom_id == "v2"} == {
        "v2": {"type": kind}
    }
    assert counts(await client.messages.batches.retrieve(batch.id)) == {"succeeded": 1, kind: 1}
    assert [(row["outcome"], row["billed"]) for row in control.rows()] == [("ok", True), (kind, False)]


@pytest.mark.parametrize("kind", ["expired", "canceled"])
async def test_online_nothing_expires_and_such_a_fault_is_an_overload(
    client: Async, control: SimulatorControl, wanted: Wanted, kind: str
) -> None:
    control.script(kind)
    with pytest.raises(anthropic.OverloadedError):
        await client.messages.create(**wanted())


async def test_random_faults_fall_on_the_same_requests_as_online(hand_over: HandOver, wanted: Wanted) -> None:
    rates = {"529": 0.2, "prose": 0.2, "500": 0.1}

    async def online(client: Async, variant: int) -> str:
        try:
            return text_of(await client.messages.create(**wanted(variant)))
        except anthropic.APIStatusError as error:
            return str(error.type)

    with simulator_process(fault_rate=rates, seed=5) as url:
        async with open_client(url) as client:
            at_once = {f"v{variant}": await online(client, variant) for variant in range(40)}
            SimulatorControl(url).reset()
            results = await by_id(client, await hand_over(client, *range(40)))
    batched = {
        custom_id: text_of(result.message) if result.type == "succeeded" else result.error.error.type
        for custom_id, result in results.items()
    }
    assert batched == at_once
    assert {"overloaded_error", "api_error"} < set(batched.values())


async def test_limits_of_rates_are_not_for_batches(hand_over: HandOver, wanted: Wanted) -> None:
    with simulator_process(requests_per_minute=1) as url:
        async with open_client(url) as client:
            results = await by_id(client, await hand_over(client, *range(10)))
            assert {result.type for result in results.values()} == {"succeeded"}
            await client.messages.create(**wanted())
            with pytest.raises(anthropic.RateLimitError):
                await client.messages.create(**wanted())


async def test_a_slow_batch_is_in_progress_until_its_time_is_over(hand_over: HandOver) -> None:
    with simulator_process(batch_seconds=2.5) as url:
        async with open_client(url) as client:
            batch = await hand_over(client, 1, 2)
            early = await client.messages.batches.retrieve(batch.id)
            assert (early.processing_status, counts(early), early.results_url) == ("in_progress", {"processing": 2}, None)
            assert SimulatorControl(url).usage()["batch"]["outcomes"] == {"in flight": 2}
            await asyncio.sleep(2.6)
            late = await client.messages.batches.retrieve(batch.id)
            assert (late.processing_status, counts(late)) == ("ended", {"succeeded": 2})
            assert late.ended_at is not None
            assert late.ended_at - late.created_at == timedelta(seconds=2.5)


async def test_there_are_no_results_before_the_end(slow: SimulatorControl, hand_over: HandOver) -> None:
    async with open_client(slow.url) as client:
        batch = await hand_over(client, 1)
        with pytest.raises(anthropic.AnthropicError, match="in_progress"):
            await client.messages.batches.results(batch.id)
        answer = httpx2.get(results_url(slow, batch), headers=HEADERS)
        assert (answer.status_code, answer.json()["error"]["type"]) == (404, "not_found_error")
        assert "has no available results" in answer.json()["error"]["message"]


async def test_an_unknown_batch_is_not_found(client: Async, control: SimulatorControl) -> None:
    with pytest.raises(anthropic.NotFoundError, match="msgbatch_none not found"):
        await client.messages.batches.retrieve("msgbatch_none")
    assert httpx2.get(f"{control.url}/v1/messages/batches/msgbatch_none/results", headers=HEADERS).status_code == 404


async def test_a_prefix_is_written_to_the_cache_once_and_read_by_the_rest_and_online(
    client: Async, hand_over: HandOver, wanted: Wanted
) -> None:
    results = await by_id(client, await hand_over(client, *range(5), system=LONG_SYSTEM))
    usages = [read_usage(results[f"v{variant}"].message.usage.model_dump()) for variant in range(5)]
    assert [usage.cache_write_5m_tokens > 750 for usage in usages] == [True, False, False, False, False]
    assert [usage.cache_read_tokens for usage in usages] == [0, *[usages[0].cache_write_5m_tokens] * 4]
    online = read_usage((await client.messages.create(**wanted(9, system=LONG_SYSTEM))).usage.model_dump())
    assert online.cache_read_tokens == usages[0].cache_write_5m_tokens


async def test_the_usage_keeps_what_batches_cost_apart_from_what_online_requests_cost(
    client: Async, control: SimulatorControl, hand_over: HandOver, wanted: Wanted
) -> None:
    control.script("529", "expired", "refusal", match="Model: haiku")
    online = [await client.messages.create(**wanted(number)) for number in range(3)]
    sonnet = await hand_over(client, *range(4), system=LONG_SYSTEM)
    haiku = await hand_over(client, *range(6), model="claude-haiku-5-5", system="Model: haiku")
    assert [row["outcome"] for row in control.rows()] == ["ok"] * 3 + ["in flight"] * 10
    told = {
        "claude-sonnet-5-5": [result.message for result in (await by_id(client, sonnet)).values()],
        "claude-haiku-5-5": [result.message for result in (await by_id(client, haiku)).values() if result.type == "succeeded"],
    }
    usage = control.usage()
    assert (usage["requests"], usage["outcomes"], usage["billed_undelivered"]["requests"]) == (3, {"ok": 3}, 0)
    assert tokens_of(usage["billed_delivered"]["models"]) == {"claude-sonnet-5-5": tokens_told(online)}
    batch = usage["batch"]
    assert (batch["requests"], batch["outcomes"]) == (10, {"ok": 7, "529": 1, "expired": 1, "refusal": 1})
    assert tokens_of(batch["billed_delivered"]["models"]) == {model: tokens_told(messages) for model, messages in told.items()}
    assert {model: line["requests"] for model, line in batch["billed_delivered"]["models"].items()} == {
        "claude-sonnet-5-5": 4,
        "claude-haiku-5-5": 4,
    }
    assert batch["billed_undelivered"]["requests"] == 0


async def test_each_request_of_a_batch_is_a_row_with_its_ids(
    client: Async, control: SimulatorControl, hand_over: HandOver, wanted: Wanted
) -> None:
    online = await client.messages.create(**wanted())
    batch = await hand_over(client, 1, 2)
    waiting = control.rows()
    assert [(row["batch_id"], row["custom_id"]) for row in waiting] == [(None, None), (batch.id, "v1"), (batch.id, "v2")]
    assert [(row["status"], row["billed"], row["message_id"]) for row in waiting[1:]] == [(0, False, None)] * 2
    await client.messages.batches.retrieve(batch.id)
    ended = control.rows()
    assert [(row["status"], row["billed"], row["delivered"]) for row in ended[1:]] == [(200, True, False)] * 2
    results = await by_id(client, batch)
    rows = control.rows()
    assert [(row["billed"], row["delivered"]) for row in rows[1:]] == [(True, True)] * 2
    assert [row["message_id"] for row in rows] == [online.id, results["v1"].message.id, results["v2"].message.id]
    assert len({row["request_id"] for row in rows}) == 3
    assert {row["key"] for row in rows} == {rows[0]["key"]}
    assert [row["usage"]["output_tokens"] for row in rows[1:]] == [
        results[custom_id].message.usage.output_tokens for custom_id in ("v1", "v2")
    ]


async def test_a_create_that_fails_made_nothing(client: Async, control: SimulatorControl, hand_over: HandOver) -> None:
    control.script("500", {"kind": "429", "retry_after": 2}, on="batch_create")
    with pytest.raises(anthropic.InternalServerError):
        await hand_over(client, 1)
    with pytest.raises(anthropic.RateLimitError) as caught:
        await hand_over(client, 1)
    assert caught.value.response.headers["retry-after"] == "2"
    assert (await client.messages.batches.list()).data == []
    assert control.rows() == []
    made = await hand_over(client, 1)
    assert [batch.id for batch in (await client.messages.batches.list()).data] == [made.id]


@pytest.mark.parametrize("kind", ["reset", "hang"])
async def test_a_create_without_an_answer_leaves_a_batch_that_can_be_found_by_listing(
    client: Async, control: SimulatorControl, hand_over: HandOver, kind: str
) -> None:
    control.script(kind, on="batch_create")
    with pytest.raises(anthropic.APIConnectionError):
        await hand_over(client.with_options(timeout=1), 1, 2)
    (found,) = (await client.messages.batches.list()).data
    assert counts(found) == {"succeeded": 2}
    assert sorted(await by_id(client, found)) == ["v1", "v2"]


async def test_results_can_break_off_in_the_middle_and_be_read_again(
    client: Async, control: SimulatorControl, hand_over: HandOver
) -> None:
    batch = await hand_over(client, *range(100))
    control.script("reset", on="batch_results")
    come = []
    with pytest.raises(DROPPED):
        async for result in await client.messages.batches.results(batch.id):
            come.append(result.custom_id)
    assert 0 < len(come) <= 50
    assert sum(row["delivered"] for row in control.rows()) == 50
    assert len(await by_id(client, batch)) == 100
    assert all(row["delivered"] for row in control.rows())


async def test_results_can_end_in_half_a_line_or_be_a_web_page(
    client: Async, control: SimulatorControl, hand_over: HandOver
) -> None:
    batch = await hand_over(client, 1, 2, 3)
    control.script("broken_json", "html", "404", on="batch_results")
    with pytest.raises(json.JSONDecodeError):
        await results_of(client, batch)
    page = httpx2.get(results_url(control, batch), headers=HEADERS)
    assert (page.status_code, page.headers["content-type"].split(";")[0]) == (200, "text/html")
    with pytest.raises(anthropic.NotFoundError):
        await results_of(client, batch)
    assert len(await results_of(client, batch)) == 3


async def test_looking_and_listing_can_fail_and_succeed_the_next_time(
    client: Async, control: SimulatorControl, hand_over: HandOver
) -> None:
    batch = await hand_over(client, 1)
    control.script("404", "reset", on="batch_retrieve")
    control.script("529", "broken_json", on="batch_list")
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.batches.retrieve(batch.id)
    with pytest.raises(anthropic.APIConnectionError):
        await client.messages.batches.retrieve(batch.id)
    with pytest.raises(anthropic.OverloadedError):
        await client.messages.batches.list()
    with pytest.raises(json.JSONDecodeError):
        await client.messages.batches.list()
    assert (await client.messages.batches.retrieve(batch.id)).processing_status == "ended"
    assert [found.id for found in (await client.messages.batches.list()).data] == [batch.id]


async def test_what_is_scripted_for_calls_about_batches_no_request_meets(
    client: Async, control: SimulatorControl, hand_over: HandOver, wanted: Wanted
) -> None:
    control.script("500", on="batch_create")
    assert (await client.messages.create(**wanted())).stop_reason == "end_turn"
    with pytest.raises(anthropic.InternalServerError):
        await hand_over(client, 1)
    control.script("529")
    batch = await hand_over(client, 1)
    assert counts(await client.messages.batches.retrieve(batch.id)) == {"errored": 1}


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ({"faults": ["500"], "on": "batch_creat"}, "did you mean 'batch_create'"),
        ({"faults": ["refusal"], "on": "batch_create"}, "batch_create cannot meet 'refusal'"),
        ({"faults": ["500"], "on": "batch_list", "match": "a"}, "no prompt to hold 'a'"),
    ],
)
async def test_a_script_for_calls_about_batches_with_a_mistake_is_refused(
    control: SimulatorControl, script: object, said: str
) -> None:
    answer = httpx2.post(f"{control.url}/_simulator/script", json=script)
    assert answer.status_code == 400
    assert said in answer.json()["error"]["message"]
    assert httpx2.post(f"{control.url}/_simulator/script", json={"faults": []}).json() == {"pending": 0}


async def test_a_reset_forgets_batches(client: Async, control: SimulatorControl, hand_over: HandOver) -> None:
    batch = await hand_over(client, 1)
    control.reset()
    with pytest.raises(anthropic.NotFoundError):
        await client.messages.batches.retrieve(batch.id)
    assert control.usage()["batch"]["requests"] == 0
    assert (await hand_over(client, 1)).id != batch.id


async def test_others_are_answered_while_a_large_batch_is_worked_through(client: Async, hand_over: HandOver) -> None:
    batch = await hand_over(client, *range(2000))
    looking = asyncio.create_task(client.messages.batches.retrieve(batch.id))
    answered = 0
    while not looking.done():
        await client.models.retrieve("claude-sonnet-5-5")
        answered += 1
    assert counts(await looking) == {"succeeded": 2000}
    assert answered > 5


async def test_who_leaves_while_a_batch_is_worked_through_does_not_stop_it(client: Async, hand_over: HandOver) -> None:
    batch = await hand_over(client, *range(2000))
    with pytest.raises(anthropic.APITimeoutError):
        await client.with_options(timeout=0.05).messages.batches.retrieve(batch.id)
    assert counts(await client.messages.batches.retrieve(batch.id)) == {"succeeded": 2000}


def results_url(control: SimulatorControl, batch: MessageBatch) -> str:
    return f"{control.url}/v1/messages/batches/{batch.id}/results"


TOKENS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")


def tokens_of(models: dict[str, dict[str, int]]) -> dict[str, list[int]]:
    """Tokens by model, of `TOKENS`, as the simulator has them."""
    return {model: [line[kind] for kind in TOKENS] for model, line in models.items()}


def tokens_told(messages: list[anthropic.types.Message]) -> list[int]:
    """The same as clients were told."""
    return [sum(message.usage.model_dump()[kind] for message in messages) for kind in TOKENS]


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("line_cut", [2, "v1"]),
        ("line_stub", [2]),
        ("line_half_character", [2, "v1"]),
        ("line_bom", [2, "v1"]),
        ("line_nan", [2, "v1"]),
        ("line_event", [2]),
        ("line_nameless", [2]),
        ("line_stranger", [2, "nobody"]),
        ("line_twice", [3, "v1"]),
        ("line_missing", [1]),
        ("line_unknown_type", [2, "v1", "deferred"]),
    ],
)
async def test_the_line_of_a_result_may_be_odd_and_was_paid(
    client: Async, control: SimulatorControl, hand_over: HandOver, fault: str, expected: list[Any]
) -> None:
    control.script(fault)
    batch = await client.messages.batches.retrieve((await hand_over(client, 1, 2)).id)
    assert counts(batch) == {"succeeded": 2}
    raw = httpx2.get(results_url(control, batch), headers=HEADERS).content
    count, *words = expected
    assert raw.count(b"\n") == count
    odd = b"\n".join(line for line in raw.split(b"\n") if b'"v2"' not in line)
    assert all(word.encode() in odd for word in words)
    assert ("v1" in words) == (b'"custom_id":"v1"' in odd)
    assert [row["billed"] for row in control.rows()] == [True, True]


async def test_a_batch_may_not_be_found_for_a_while_though_it_is_listed(wanted: Wanted, hand_over: HandOver) -> None:
    with simulator_process(batch_unknown_seconds=3600) as url:
        async with open_client(url) as client:
            batch = await hand_over(client, 1)
            with pytest.raises(anthropic.NotFoundError, match=f"Message Batch {batch.id} not found"):
                await client.messages.batches.retrieve(batch.id)
            assert [one.id for one in (await client.messages.batches.list()).data] == [batch.id]


async def test_results_may_come_a_while_after_the_end(wanted: Wanted, hand_over: HandOver) -> None:
    with simulator_process(batch_results_late_seconds=3600) as url:
        async with open_client(url) as client:
            batch = await client.messages.batches.retrieve((await hand_over(client, 1)).id)
            assert batch.processing_status == "ended"
            with pytest.raises(anthropic.NotFoundError, match="has no available results"):
                await results_of(client, batch)


@pytest.mark.parametrize("name", ["batch_unknown_seconds", "batch_results_late_seconds"])
def test_a_while_is_within_a_day(name: str) -> None:
    assert getattr(SimulatorOptions(**{name: 86_400}), name) == 86_400
    for seconds in (-1, 86_401):
        with pytest.raises(ConfigError, match=name):
            SimulatorOptions(**{name: seconds})
