"""What the batch API sends, as values: whatever a line holds, the other lines are read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import web

from convoforge.claude import Claude, MessageBatches
from convoforge.errors import ClaudeAPIError, FatalAPIError, OverloadError, RejectedError, TransientError
from convoforge.models import Prompt, UnreadableLine
from convoforge.planning.spec import Generation

pytestmark = pytest.mark.anyio

USAGE = {"input_tokens": 7, "output_tokens": 5}
MESSAGE = {"id": "msg_1", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": USAGE, "model": "m"}


class Server:
    """Answers with what a test puts into it, and keeps what it was sent."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.answers: dict[str, Any] = {}
        self.seen: list[tuple[str, dict[str, str]]] = []
        self.url = ""

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.path_qs, dict(request.headers)))
        if request.path.endswith("/results"):
            return web.Response(body=b"\n".join(self.lines))
        return web.json_response(self.answers[request.path_qs.removeprefix("/v1/messages/batches")])


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    answering = Server()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answering.__call__)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    answering.url = f"http://{host}:{port}"
    yield answering
    await runner.cleanup()


@pytest.fixture
async def batches(server: Server) -> AsyncIterator[MessageBatches]:
    claude = Claude(["sk-one"], server.url, "claude-sonnet-5-5", timeout_seconds=5)
    yield MessageBatches(claude)
    await claude.aclose()


def state(number: int, status: str = "in_progress", **counts: int) -> dict[str, Any]:
    return {
        "id": f"msgbatch_{number}",
        "processing_status": status,
        "request_counts": {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0, **counts},
        "created_at": f"2026-11-25T10:{number:02}:00Z",
        "results_url": "https://elsewhere.example/results",
    }


async def read(batches: MessageBatches) -> list[Any]:
    return [one async for one in batches.results("msgbatch_1", Generation())]


def line(name: str, **result: Any) -> bytes:
    return orjson.dumps({"custom_id": name, "result": result})


async def test_every_kind_of_result_is_read(server: Server, batches: MessageBatches) -> None:
    server.lines = [
        line("a", type="succeeded", message=MESSAGE),
        line("b", type="errored", error={"type": "error", "error": {"type": "invalid_request_error", "message": "no\nway"}}),
        line("c", type="errored", error={"type": "error", "error": {"type": "api_error", "message": "oops"}}),
        line("d", type="errored", error={"type": "error", "error": {"type": "billing_error", "message": "pay"}}),
        line("e", type="expired"),
        line("f", type="canceled"),
        b"",
    ]
    good, *others = await read(batches)
    assert good.reply is not None
    assert (good.custom_id, good.message_id, good.reply.text, good.reply.usage.output_tokens) == ("a", "msg_1", "hi", 5)
    assert [type(one.error) for one in others] == [RejectedError, TransientError, FatalAPIError, TransientError, TransientError]
    assert not any(one.error.maybe_billed for one in others if isinstance(one.error, ClaudeAPIError))  # only answers are billed
    assert str(others[0].error) == "the API could not answer in a batch (invalid_request_error): no way"


async def test_only_a_line_feed_ends_a_result(server: Server, batches: MessageBatches) -> None:
    said = (
        "one\u2028two\x85three\x1cfour" + "x" * 300_000
    )  # what str.splitlines takes for ends of lines, and more than a buffer holds
    message = {**MESSAGE, "content": [{"type": "text", "text": said}]}
    server.lines = [
        json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": message}}, ensure_ascii=False).encode()
    ]
    [result] = await read(batches)
    assert result.reply is not None
    assert result.reply.text == said


@pytest.mark.parametrize(
    "broken", [{"type": "succeeded"}, {"type": "succeeded", "message": {"id": 1}}, {"type": "errored"}, {}, None]
)
async def test_a_result_that_cannot_be_read_harms_no_other(server: Server, batches: MessageBatches, broken: Any) -> None:
    server.lines = [orjson.dumps({"custom_id": "a", "result": broken}), line("b", type="succeeded", message=MESSAGE)]
    bad, good = await read(batches)
    assert isinstance(bad.error, TransientError)
    assert bad.error.maybe_billed
    assert good.reply is not None


@pytest.mark.parametrize(
    ("broken", "named", "in_place_of_one"),
    [
        (b'{"custom_id": "a", "result": {"type": "succ', "a", True),
        (b'{"result":{"type":"succeeded","message":{"id":1},"custom_id":"a"}', "a", True),
        (b'{"cust', None, True),
        (b"{}", None, True),
        (b'{"custom_id": 7, "result": {}}', None, True),
        (b'{"event":"keepalive"}', None, True),
        (b"[]", None, False),
        (b"<html>", None, False),
        (b": keepalive", None, False),
        (b"event: ping", None, False),
        (b'{"type": "error", "error": {"type": "overloaded_error"}}', None, False),
        (b"\xff\xfe\x00", None, False),
        (b"[" * 50_000, None, False),
    ],
)
async def test_a_line_that_is_no_result_is_told_and_the_others_are_read(
    server: Server, batches: MessageBatches, broken: bytes, named: str | None, in_place_of_one: bool
) -> None:
    server.lines = [line("b", type="succeeded", message=MESSAGE), broken, line("c", type="succeeded", message=MESSAGE)]
    first, bad, last = await read(batches)
    assert (first.custom_id, last.custom_id) == ("b", "c")
    assert isinstance(bad, UnreadableLine)
    assert (bad.custom_id, bad.in_place_of_one, bad.cut) == (named, in_place_of_one, False)
    assert bad.error.maybe_billed
    assert "a result could not be read" in str(bad.error)


async def test_the_last_line_may_be_cut(server: Server, batches: MessageBatches) -> None:
    server.lines = [line("b", type="succeeded", message=MESSAGE), b'{"custom_id": "a", "res']
    _, bad = await read(batches)
    assert (bad.custom_id, bad.cut) == ("a", True)


async def test_a_line_longer_than_any_answer_fills_no_memory(
    server: Server, batches: MessageBatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("convoforge.claude.http.MAX_LINE", 100_000)
    monkeypatch.setattr("convoforge.claude.batches.MAX_LINE", 100_000)
    long = line("a", type="succeeded", message={**MESSAGE, "content": [{"type": "text", "text": "x" * 900_000}]})
    server.lines = [long, line("b", type="succeeded", message=MESSAGE)]
    bad, good = await read(batches)
    assert (bad.custom_id, good.custom_id) == ("a", "b")
    assert "longer than 100000 bytes" in str(bad.error)


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbf" + orjson.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": MESSAGE}}),
        json.dumps({"custom_id": "a", "result": {"type": "succeeded", "message": {**MESSAGE, "score": float("nan")}}}).encode(),
        json.dumps(
            {"custom_id": "a", "result": {"type": "succeeded", "message": {**MESSAGE, "id": "m\ud83d", "x": "\ud83d"}}}
        ).encode(),
    ],
    ids=["byte-order mark", "NaN", "half a surrogate pair"],
)
async def test_json_that_the_sdk_reads_is_read(server: Server, batches: MessageBatches, text: bytes) -> None:
    server.lines = [text]
    [result] = await read(batches)
    assert result.custom_id == "a"
    assert result.reply.text == "hi"
    result.message_id.encode()


async def test_a_result_of_an_unknown_type_may_have_been_billed(server: Server, batches: MessageBatches) -> None:
    server.lines = [line("a", type="deferred", until="tomorrow"), line("b", type=["x"])]
    for one in await read(batches):
        assert isinstance(one.error, TransientError)
        assert (one.error.kind, one.error.maybe_billed) == ("unknown_result", True)
        assert "unknown type" in str(one.error)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        ({"type": "overloaded_error", "message": "Overloaded"}, (TransientError, OverloadError)),
        ({"type": "rate_limit_error", "message": "slow"}, (TransientError, OverloadError)),
        ({"type": "timeout_error", "message": "late"}, TransientError),
        ({"type": "a_new_error", "message": "hm"}, TransientError),
        ({"type": "request_too_large", "message": "big"}, RejectedError),
        ({"type": "authentication_error", "message": "key"}, FatalAPIError),
        ({"type": "permission_error", "message": "no"}, FatalAPIError),
        ({"type": "invalid_request_error", "message": "half \ud83d"}, RejectedError),
        ({"message": "no type"}, TransientError),
    ],
)
async def test_an_error_among_the_results_is_one_request_s_and_costs_nothing(
    server: Server,
    batches: MessageBatches,
    error: dict[str, Any],
    raised: type[ClaudeAPIError] | tuple[type[ClaudeAPIError], ...],
) -> None:
    result = {"type": "errored", "error": {"type": "error", "error": error, "request_id": "req_1"}}
    server.lines = [json.dumps({"custom_id": "a", "result": result}).encode()]
    [one] = await read(batches)
    assert isinstance(one.error, raised)
    assert not one.error.maybe_billed


async def test_results_are_asked_of_the_api_and_the_key_goes_nowhere_else(server: Server, batches: MessageBatches) -> None:
    await read(batches)
    [(path, headers)] = server.seen
    assert path == "/v1/messages/batches/msgbatch_1/results"
    assert "sk-one" in headers["Authorization"]


async def test_a_listing_goes_back_as_far_as_it_is_asked_to(server: Server, batches: MessageBatches) -> None:
    server.answers = {
        "?limit=100": {"data": [state(9), state(8)], "has_more": True},
        "?limit=100&after_id=msgbatch_8": {"data": [state(7), state(6)], "has_more": True},
    }
    since = datetime(2026, 11, 25, 10, 7, tzinfo=UTC)
    assert [one.id async for one in batches.list_since(since)] == ["msgbatch_9", "msgbatch_8", "msgbatch_7"]


async def test_a_listing_that_goes_in_circles_comes_to_an_end(server: Server, batches: MessageBatches) -> None:
    same = {"data": [state(9), state(8)], "has_more": True}
    server.answers = {"?limit=100": same, "?limit=100&after_id=msgbatch_8": same}
    with pytest.raises(TransientError, match="lists the same batches again"):
        [one.id async for one in batches.list_since(datetime(2026, 11, 25, tzinfo=UTC))]


@pytest.mark.parametrize(
    ("changes", "ended"),
    [
        ({"processing_status": "in_progress"}, False),
        ({"processing_status": "canceling", "ended_at": None}, False),
        ({"processing_status": "resting"}, False),
        ({"processing_status": "resting", "ended_at": "2026-11-25T11:00:00Z"}, True),
        ({"processing_status": "ended", "ended_at": None}, True),
        ({"processing_status": "ended", "ended_at": "soon", "created_at": 7, "request_counts": None}, True),
    ],
)
async def test_a_batch_has_ended_where_its_state_or_its_time_says_so(
    server: Server, batches: MessageBatches, changes: dict[str, Any], ended: bool
) -> None:
    server.answers = {"/msgbatch_1": {**state(1), **changes}}
    found = await batches.retrieve("msgbatch_1")
    assert (found.ended, found.status) == (ended, changes["processing_status"])


@pytest.mark.parametrize("changes", [{"id": None}, {"id": "a b"}, {"id": "x" * 129}, {"processing_status": None}])
async def test_a_batch_without_a_name_or_a_state_is_none(
    server: Server, batches: MessageBatches, changes: dict[str, Any]
) -> None:
    server.answers = {"/msgbatch_1": {**state(1), **changes}}
    with pytest.raises(TransientError, match="a batch has no"):
        await batches.retrieve("msgbatch_1")


async def test_where_a_batch_stands(server: Server, batches: MessageBatches) -> None:
    server.answers = {"/msgbatch_1": state(1, "ended", succeeded=3, expired=1)}
    found = await batches.retrieve("msgbatch_1")
    assert (found.ended, found.requests, found.counts["expired"], found.provider) == (True, 4, 1, "anthropic")


async def test_a_request_in_a_batch_is_what_goes_out_online(batches: MessageBatches) -> None:
    told = orjson.loads(batches.request("c-0-1", Prompt("rules", "brief", shared=True), Generation(), keep=True))
    assert told["custom_id"] == "c-0-1"
    assert told["params"]["system"] == [{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}]
    assert told["params"]["output_config"]["format"]["type"] == "json_schema"
    assert told["params"]["max_tokens"] == 4096
