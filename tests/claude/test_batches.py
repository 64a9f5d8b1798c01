"""What the batch API sends, as values: whatever a line holds, the other lines are read."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import web

from convoforge.claude import Batches, Claude
from convoforge.errors import ClaudeAPIError, DoomError, RejectedError, TransientError
from convoforge.models import BatchResult, Prompt
from convoforge.spec import Generation

pytestmark = pytest.mark.anyio

USAGE = {"input_tokens": 7, "output_tokens": 5}
MESSAGE = {"id": "msg_1", "content": [{"type": "text", "text": "hi"}], "stop_reason": "end_turn", "usage": USAGE, "model": "m"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
async def batches(server: Server) -> AsyncIterator[Batches]:
    claude = Claude(["sk-one"], server.url, "claude-sonnet-5-5", timeout_seconds=5)
    yield Batches(claude)
    await claude.aclose()


def state(number: int, status: str = "in_progress", **counts: int) -> dict[str, Any]:
    return {
        "id": f"msgbatch_{number}",
        "processing_status": status,
        "request_counts": {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0, **counts},
        "created_at": f"2026-11-25T10:{number:02}:00Z",
        "results_url": "https://elsewhere.example/results",
    }


async def read(batches: Batches) -> list[BatchResult]:
    return [one async for one in batches.results("msgbatch_1", Generation())]


def line(name: str, **result: Any) -> bytes:
    return orjson.dumps({"custom_id": name, "result": result})


async def test_every_kind_of_result_is_read(server: Server, batches: Batches) -> None:
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
    assert [type(one.error) for one in others] == [RejectedError, TransientError, DoomError, TransientError, TransientError]
    assert not any(one.error.maybe_billed for one in others if isinstance(one.error, ClaudeAPIError))  # only answers are billed
    assert str(others[0].error) == "the API could not answer in a batch (invalid_request_error): no way"


async def test_only_a_line_feed_ends_a_result(server: Server, batches: Batches) -> None:
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
async def test_a_result_that_cannot_be_read_harms_no_other(server: Server, batches: Batches, broken: Any) -> None:
    server.lines = [orjson.dumps({"custom_id": "a", "result": broken}), line("b", type="succeeded", message=MESSAGE)]
    bad, good = await read(batches)
    assert isinstance(bad.error, TransientError)
    assert bad.error.maybe_billed
    assert good.reply is not None


@pytest.mark.parametrize("broken", [b'{"custom_id": "a", "res', b"[]", b"{}", b"<html>"])
async def test_a_line_that_is_no_result_ends_the_reading(server: Server, batches: Batches, broken: bytes) -> None:
    server.lines = [line("b", type="succeeded", message=MESSAGE), broken]
    with pytest.raises(TransientError, match="not what it should be"):
        await read(batches)


async def test_results_are_asked_of_the_api_and_the_key_goes_nowhere_else(server: Server, batches: Batches) -> None:
    await read(batches)
    [(path, headers)] = server.seen
    assert path == "/v1/messages/batches/msgbatch_1/results"
    assert "sk-one" in headers["Authorization"]


async def test_a_listing_goes_back_as_far_as_it_is_asked_to(server: Server, batches: Batches) -> None:
    server.answers = {
        "?limit=100": {"data": [state(9), state(8)], "has_more": True},
        "?limit=100&after_id=msgbatch_8": {"data": [state(7), state(6)], "has_more": True},
    }
    since = datetime(2026, 11, 25, 10, 7, tzinfo=UTC)
    assert [one.id async for one in batches.since(since)] == ["msgbatch_9", "msgbatch_8", "msgbatch_7"]


async def test_where_a_batch_stands(server: Server, batches: Batches) -> None:
    server.answers = {"/msgbatch_1": state(1, "ended", succeeded=3, expired=1)}
    found = await batches.look("msgbatch_1")
    assert (found.ended, found.requests, found.counts["expired"], found.provider) == (True, 4, 1, "anthropic")


async def test_a_request_in_a_batch_is_what_goes_out_online(batches: Batches) -> None:
    told = orjson.loads(batches.request("c-0-1", Prompt("rules", "brief", shared=True), Generation(), keep=True))
    assert told["custom_id"] == "c-0-1"
    assert told["params"]["system"] == [{"type": "text", "text": "rules", "cache_control": {"type": "ephemeral"}}]
    assert told["params"]["output_config"]["format"]["type"] == "json_schema"
    assert told["params"]["max_tokens"] == 4096
