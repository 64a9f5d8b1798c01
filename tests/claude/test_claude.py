"""The one boundary to the API, over real HTTP: against the simulator, and against servers that behave as none should."""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import astuple
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.claude import SIMULATOR_KEY, Claude, is_loopback, read_usage
from convoforge.claude.http import find_proxy
from convoforge.claude.reading import MAX_TOKENS
from convoforge.claude.retry import Policy
from convoforge.errors import (
    ClaudeAPIError,
    ConfigError,
    ConvoforgeError,
    FatalAPIError,
    OverloadError,
    RejectedError,
    TransientError,
    UnreadableError,
)
from convoforge.generation.endpoint import api_address, check_provider
from convoforge.models import Prompt, Usage
from convoforge.parsing import parse_conversation
from convoforge.planning.plan import with_format_instructions
from convoforge.planning.spec import Generation, Retry
from convoforge.rate import fingerprint
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

pytestmark = pytest.mark.anyio

MODEL = "claude-sonnet-5-5"
KEY = "sk-ant-0123456789-secret"
WRONG = "sk-sim-wrong-0123456789"
PROMPT = Prompt(
    "You write conversations.", "Write one conversation as JSON.\nPersona: Anxious Investor\nTopic: market volatility\n"
)
SETTINGS = Generation()
QUICK = Retry(base_delay_seconds=0, jitter_seconds=0)

Stream = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def client(url: str, *keys: str, model: str = MODEL, seconds: float = 10) -> AsyncIterator[Claude]:
    claude = Claude(keys or (SIMULATOR_KEY,), url, model, timeout_seconds=seconds)
    try:
        yield claude
    finally:
        await claude.aclose()


@asynccontextmanager
async def server(answer: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]) -> AsyncIterator[str]:
    """An HTTP server of its own behaviour."""
    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def listener(behave: Stream) -> AsyncIterator[str]:
    """A server that is none: it hears a request's head, then behaves as it likes."""

    heard: set[asyncio.Task[Any]] = set()

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        heard.add(task)
        try:
            await reader.readuntil(b"\r\n\r\n")
            await behave(reader, writer)
        except asyncio.CancelledError:
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    listening = await asyncio.start_server(hear, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        for task in heard:
            task.cancel()
        await asyncio.gather(*heard)


def message(**changes: Any) -> dict[str, Any]:
    """The body of a sound answer, with some fields changed."""
    usage = {"input_tokens": 10, "output_tokens": 20}
    text = {"type": "text", "text": "words"}
    return {"type": "message", "model": MODEL, "content": [text], "stop_reason": "end_turn", "usage": usage, **changes}


def saying(
    body: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        return web.json_response(body, status=status, headers=headers)

    return answer


async def failure(url: str, *keys: str, seconds: float = 10) -> ClaudeAPIError:
    async with client(url, *keys, seconds=seconds) as claude:
        with pytest.raises(ClaudeAPIError) as caught:
            await claude.send(PROMPT, SETTINGS)
    return caught.value


# --- answers ---


async def test_an_answer_comes_with_its_usage_its_request_id_and_the_rate_headers(simulator: SimulatorControl) -> None:
    async with client(simulator.url) as claude:
        reply = await claude.send(PROMPT, SETTINGS)
    (row,) = simulator.rows()
    assert reply.usage == Usage(row["usage"]["input_tokens"], row["usage"]["output_tokens"])
    assert reply.request_id == row["request_id"]
    assert (reply.stop_reason, reply.model, reply.provider, reply.refusal_category) == ("end_turn", MODEL, "simulator", None)
    assert reply.rate_headers["anthropic-ratelimit-requests-limit"] == "1000000"
    assert all(name.startswith("anthropic-ratelimit-") for name in reply.rate_headers)
    assert len(parse_conversation(reply.text).turns) >= 2


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        ({"input_tokens": 7, "output_tokens": 9}, Usage(7, 9)),
        (
            {"input_tokens": 7, "output_tokens": 9, "cache_read_input_tokens": None, "cache_creation_input_tokens": None},
            Usage(7, 9),
        ),
        (
            {"input_tokens": 100, "output_tokens": 50, "cache_read_input_tokens": 1000, "cache_creation_input_tokens": 300},
            Usage(100, 50, 1000, 300, 0),
        ),
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "cache_read_input_tokens": 1000,
                "cache_creation_input_tokens": 3000,
                "cache_creation": {"ephemeral_5m_input_tokens": 1000, "ephemeral_1h_input_tokens": 2000},
            },
            Usage(100, 50, 1000, 1000, 2000),
        ),
        (
            {
                "input_tokens": 1,
                "output_tokens": 2,
                "cache_creation": {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 4},
            },
            Usage(1, 2, 0, 3, 4),
        ),
    ],
)
async def test_what_the_cache_read_and_wrote_is_kept_apart(told: dict[str, Any], usage: Usage) -> None:
    async with server(saying(message(usage=told))) as url, client(url) as claude:
        assert (await claude.send(PROMPT, SETTINGS)).usage == usage


@pytest.mark.parametrize(
    ("fault", "stop_reason", "category"),
    [
        ("truncation", "max_tokens", None),
        ("overflow", "model_context_window_exceeded", None),
        ({"kind": "refusal", "category": "cyber"}, "refusal", "cyber"),
    ],
)
async def test_an_answer_without_a_conversation_is_an_answer_all_the_same(
    simulator: SimulatorControl, fault: Any, stop_reason: str, category: str | None
) -> None:
    simulator.script(fault)
    async with client(simulator.url) as claude:
        reply = await claude.send(PROMPT, SETTINGS)
    assert (reply.stop_reason, reply.refusal_category) == (stop_reason, category)
    assert reply.usage.output_tokens == simulator.usage()["billed_delivered"]["output_tokens"] > 0


async def test_an_answer_in_several_blocks_is_their_text_in_order() -> None:
    blocks = [
        {"type": "thinking", "thinking": "hm", "signature": "x"},
        {"type": "text", "text": "one "},
        {"type": "text", "text": "two"},
    ]
    async with server(saying(message(content=blocks))) as url, client(url) as claude:
        assert (await claude.send(PROMPT, SETTINGS)).text == "one two"


async def test_the_answer_s_header_tells_who_answers_not_its_address(simulator: SimulatorControl) -> None:
    async with server(saying(message())) as url, client(url) as claude:
        assert (await claude.send(PROMPT, SETTINGS)).provider == "anthropic"
    async with client(simulator.url, KEY) as claude:
        assert (await claude.send(PROMPT, SETTINGS)).provider == "simulator"


async def test_each_key_is_the_one_asked_for(simulator: SimulatorControl) -> None:
    async with client(simulator.url, "sk-one", "sk-two") as claude:
        assert claude.keys == 2
        for key in (0, 1, 1):
            await claude.send(PROMPT, SETTINGS, key)
    assert [row["key"] for row in simulator.rows()] == [fingerprint("sk-one"), *[fingerprint("sk-two")] * 2]


# --- what is sent ---


class Asked:
    """A server that remembers what it was asked, and answers soundly."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append({name.lower(): value for name, value in request.headers.items()})
        return web.json_response(message())


async def test_a_request_is_what_the_api_takes_and_nothing_more() -> None:
    asked = Asked()
    async with server(asked) as url, client(url, KEY) as claude:
        await claude.send(PROMPT, SETTINGS)
    (body,), (headers,) = asked.bodies, asked.headers
    assert set(body) == {"model", "max_tokens", "system", "messages", "output_config", "thinking"}
    assert body["thinking"] == {"type": "between_tools"}
    assert (body["model"], body["max_tokens"], body["system"]) == (MODEL, 4096, PROMPT.system)
    assert body["messages"] == [{"role": "user", "content": PROMPT.user}]
    assert headers["authorization"] == f"Bearer {KEY}"
    assert headers["content-type"] == "application/json"
    assert headers["anthropic-version"] == "2026-10-21"


@pytest.mark.parametrize(
    ("model", "applied"),
    [("claude-sonnet-5-5", False), ("claude-haiku-5-5", False), ("claude-sonnet-4-6", True), ("claude-sonnet-4-5", True)],
)
async def test_a_temperature_is_sent_by_the_old_version_to_models_that_take_it(model: str, applied: bool) -> None:
    asked = Asked()
    async with server(asked) as url, client(url, model=model) as claude:
        warm = await claude.send(PROMPT, Generation(temperature=0.7))
        cold = await claude.send(PROMPT, SETTINGS)
    assert (warm.temperature_applied, cold.temperature_applied) == (applied, False)
    assert [body.get("temperature") for body in asked.bodies] == [0.7 if applied else None, None]
    old, new = "2023-06-01", "2026-10-21"
    assert [headers["anthropic-version"] for headers in asked.headers] == [old if applied else new, new]


@pytest.mark.parametrize("model", ["claude-sonnet-5-5", "claude-sonnet-4-6"])
async def test_a_temperature_does_not_keep_an_api_from_answering(simulator: SimulatorControl, model: str) -> None:
    async with client(simulator.url, model=model) as claude:
        reply = await claude.send(PROMPT, Generation(temperature=0.7))
    assert reply.stop_reason == "end_turn"


@pytest.mark.parametrize(
    ("model", "settings", "structured"),
    [
        ("claude-sonnet-5-5", Generation(), True),
        ("claude-opus-4-1", Generation(), True),
        ("claude-sonnet-5-5", Generation(structured=False), False),
        ("claude-3-5-sonnet-20241022", Generation(), False),
        ("somebody-s-own-model", Generation(), False),
    ],
)
async def test_a_shape_is_asked_for_only_where_the_model_takes_one(model: str, settings: Generation, structured: bool) -> None:
    asked = Asked()
    async with server(asked) as url, client(url, model=model) as claude:
        await claude.send(PROMPT, settings)
    formats = [body.get("output_config", {}).get("format", {}).get("type") for body in asked.bodies]
    assert formats == (["json_schema"] if structured else [None])


async def test_asked_in_words_a_model_without_schemas_answers_with_a_conversation(simulator: SimulatorControl) -> None:
    async with client(simulator.url, model="claude-mythos-preview") as claude:
        reply = await claude.send(with_format_instructions(PROMPT, structured=False), SETTINGS)
    assert len(parse_conversation(reply.text).turns) >= 2


async def test_a_request_to_oneself_goes_by_no_proxy(simulator: SimulatorControl, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    async with client(simulator.url) as claude:
        assert (await claude.send(PROMPT, SETTINGS)).provider == "simulator"


async def test_a_proxy_that_the_environment_names_is_gone_by(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, str | None]] = []

    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((request.raw_path, request.headers.get("Proxy-Authorization")))
        return await saying(message())(request)

    for name in ("ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    async with server(proxy) as url:
        monkeypatch.setenv("http_proxy", url.replace("//", "//me:secret@"))
        async with client("http://api.example/claude") as claude:
            await claude.send(PROMPT, SETTINGS)
    assert seen == [("http://api.example/claude/v1/messages", aiohttp.encode_basic_auth("me", "secret"))]
    monkeypatch.setenv("no_proxy", "api.example,other.example")
    assert [find_proxy(f"http://{name}.example/") is None for name in ("api", "other", "third")] == [True, True, False]


@pytest.mark.parametrize("status", [200, 429])
async def test_an_answer_may_be_compressed_and_have_any_header(status: int) -> None:
    said = message() if status == 200 else {"type": "error", "error": {"type": "rate_limit_error", "message": "slow down"}}

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await request.read()
        response = web.json_response(said, status=status, headers={"request-id": "req_\udcff\u00e9", "retry-after": "2"})
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with server(answer) as url:
        if status == 200:
            async with client(url) as claude:
                told: str | None = (await claude.send(PROMPT, SETTINGS)).request_id
        else:
            error = await failure(url)
            told = error.request_id
            assert (type(error), error.retry_after, "slow down" in str(error)) == (OverloadError, 2.0, True)
    assert told is not None
    told.encode()  # what the ledger keeps
    assert told.startswith("req_")


async def test_a_redirect_is_not_followed_and_the_key_stays_here() -> None:
    seen: list[str] = []

    async def other(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.path)
        return web.json_response(message())

    async with server(other) as elsewhere, server(saying({}, 307, {"Location": f"{elsewhere}/v1/messages"})) as url:
        error = await failure(url)
    assert (type(error), error.maybe_billed, seen) == (FatalAPIError, False, [])
    assert f"{elsewhere}/v1/messages: set ANTHROPIC_BASE_URL" in str(error)


# --- what goes wrong ---


@pytest.mark.parametrize(
    ("fault", "kind_of_error", "kind", "status", "maybe_billed"),
    [
        ("400", RejectedError, "invalid_request_error", 400, False),
        ("401", FatalAPIError, "authentication_error", 401, False),
        ("402", FatalAPIError, "billing_error", 402, False),
        ("403", FatalAPIError, "permission_error", 403, False),
        ("404", RejectedError, "not_found_error", 404, False),
        ("408", TransientError, "timeout_error", 408, False),
        ("409", TransientError, "conflict_error", 409, False),
        ("413", RejectedError, "request_too_large", 413, False),
        ("422", RejectedError, "invalid_request_error", 422, False),
        ("429", OverloadError, "rate_limit_error", 429, False),
        ({"kind": "429", "error_code": "enforced_spend_limit_reached"}, FatalAPIError, "rate_limit_error", 429, False),
        ({"kind": "429", "error_code": "contract_spend_limit_reached"}, FatalAPIError, "rate_limit_error", 429, False),
        ({"kind": "429", "error_code": "ramp_limit_exceeded"}, OverloadError, "rate_limit_error", 429, False),
        ("500", TransientError, "api_error", 500, False),
        ("502", TransientError, "api_error", 502, False),
        ("503", TransientError, "api_error", 503, False),
        ("504", TransientError, "timeout_error", 504, False),
        ("529", OverloadError, "overloaded_error", 529, False),
        ("html", UnreadableError, "bad_body", 200, True),
        ("broken_json", UnreadableError, "bad_body", 200, True),
        ("reset", TransientError, "connection", None, True),
    ],
)
async def test_each_fault_of_the_api_is_an_error_of_its_kind(
    simulator: SimulatorControl,
    fault: Any,
    kind_of_error: type[ClaudeAPIError],
    kind: str,
    status: int | None,
    maybe_billed: bool,
) -> None:
    simulator.script(fault)
    error = await failure(simulator.url)
    assert (type(error), error.kind, error.status) == (kind_of_error, kind, status)
    assert error.maybe_billed == maybe_billed
    (row,) = simulator.rows()
    assert error.request_id == (row["request_id"] if status else None)
    assert not row["billed"] or error.maybe_billed


async def test_a_429_says_when_to_come_back(simulator: SimulatorControl) -> None:
    simulator.script({"kind": "429", "retry_after": 2.5}, "429")
    assert (await failure(simulator.url)).retry_after == 2.5
    assert (await failure(simulator.url)).retry_after is None


async def test_an_answer_that_never_comes_is_given_up_and_may_have_been_billed(simulator: SimulatorControl) -> None:
    simulator.script("hang")
    begun = time.monotonic()
    error = await failure(simulator.url, seconds=0.3)
    assert time.monotonic() - begun < 2
    assert (type(error), error.kind, error.maybe_billed) == (TransientError, "timeout", True)


async def test_an_answer_that_comes_drop_by_drop_is_given_up_in_the_same_time() -> None:
    async def trickle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n")
        for _second in range(100):
            writer.write(b" ")
            await asyncio.sleep(0.05)

    async with listener(trickle) as url:
        begun = time.monotonic()
        error = await failure(url, seconds=0.4)
    assert time.monotonic() - begun < 2
    assert (type(error), error.kind, error.maybe_billed) == (TransientError, "timeout", True)


async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close without a word."""


async def reset(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Break the connection off, as a machine does that went down."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speak another language."""
    writer.write(b"220 mail.example.com ESMTP\r\n\r\n")


async def half(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Begin an answer, and close."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{")


async def unpacked(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Claim to have compressed what is not compressed."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 20\r\n\r\n" + b"{" * 20)


async def long_winded(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send a header that is too long."""
    writer.write(b"HTTP/1.1 200 OK\r\nx-trace: " + b"x" * 70_000 + b"\r\ncontent-length: 2\r\n\r\n{}")


@pytest.mark.parametrize(
    ("behave", "kind_of_error", "kind", "said"),
    [
        (hang_up, TransientError, "connection", "closed the connection before it answered"),
        (reset, TransientError, "connection", "the connection was reset"),
        (half, TransientError, "connection", "ended in the midst of the answer"),
        (babble, UnreadableError, "bad_header", "is no HTTP that can be read"),
        (unpacked, UnreadableError, "bad_encoding", "is not compressed as it claims to be"),
        (long_winded, UnreadableError, "bad_header", "has a header that is too large"),
    ],
)
async def test_what_broke_a_connection_is_said_and_may_have_been_billed(
    behave: Stream, kind_of_error: type[ClaudeAPIError], kind: str, said: str
) -> None:
    async with listener(behave) as url:
        error = await failure(url)
    assert (type(error), error.kind, error.maybe_billed) == (kind_of_error, kind, True)
    assert said in str(error)


async def test_a_server_that_speaks_no_tls_is_said_to_be_that() -> None:
    async def no_tls(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.com ESMTP\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(no_tls, "127.0.0.1", 0)
    error = await failure(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}")
    listening.close()
    assert (type(error), error.kind, error.maybe_billed) == (TransientError, "unreachable", False)
    assert "TLS" in str(error)


async def test_where_nothing_listens_nothing_was_billed() -> None:
    error = await failure("http://127.0.0.1:1")
    assert (type(error), error.kind, error.maybe_billed) == (TransientError, "unreachable", False)
    assert "http://127.0.0.1:1:" in str(error)


async def test_a_server_that_takes_no_connection_in_time_billed_nothing() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:  # fill its queue
            one.setblocking(False)
            one.connect_ex(busy.getsockname())
        error = await failure(f"http://127.0.0.1:{busy.getsockname()[1]}", seconds=0.6)
        for one in waiting:
            one.close()
    assert (type(error), error.kind, error.maybe_billed) == (TransientError, "unreachable", False)


@pytest.mark.parametrize(
    "body",
    [
        {},
        [],
        None,
        "words",
        message(content=None),
        message(content=7),
        message(content={"text": "words"}),
        {key: value for key, value in message().items() if key != "content"},
    ],
)
async def test_an_answer_that_is_not_what_was_promised_may_have_been_billed(body: Any) -> None:
    async with server(saying(body, headers={"request-id": "req_1"})) as url:
        error = await failure(url)
    assert (type(error), error.kind, error.status, error.request_id) == (UnreadableError, "bad_body", 200, "req_1")
    assert error.maybe_billed


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"input_tokens": None, "output_tokens": 5},
        {"input_tokens": "10", "output_tokens": 5},
        {"input_tokens": 10, "output_tokens": -5},
        {"input_tokens": 1.5, "output_tokens": 5},
        {"input_tokens": 10, "output_tokens": 5, "cache_creation": 7},
        [1, 2],
    ],
)
async def test_an_answer_whose_usage_cannot_be_true_is_an_answer_all_the_same(usage: Any) -> None:
    async with server(saying(message(usage=usage))) as url, client(url) as claude:
        reply = await claude.send(PROMPT, SETTINGS)
    assert (reply.text, reply.usage_known, reply.usage) == ("words", False, Usage())


@pytest.mark.parametrize(
    ("changes", "text", "stop_reason"),
    [
        ({"content": "words"}, "words", "end_turn"),
        (
            {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "words"}, {"type": "new"}, 7]},
            "words",
            "end_turn",
        ),
        ({"content": [{"type": "text", "text": None}, {"text": "words"}]}, "", "end_turn"),
        ({"stop_reason": None}, "words", None),
        ({"stop_reason": 7}, "words", None),
        ({"stop_reason": "a_new_one"}, "words", "a_new_one"),
        ({"stop_details": "words"}, "words", "end_turn"),
        ({"stop_details": {"category": {}}}, "words", "end_turn"),
        ({"model": None}, "words", "end_turn"),
    ],
)
async def test_what_a_message_may_have_besides_is_no_reason_to_lose_it(changes: Any, text: str, stop_reason: str | None) -> None:
    async with server(saying(message(**changes))) as url, client(url) as claude:
        reply = await claude.send(PROMPT, SETTINGS)
    assert (reply.text, reply.stop_reason, reply.usage_known) == (text, stop_reason, True)


@pytest.mark.parametrize("base_url", ["{}?x=1", "{}#f", "{} ", " {}", "{}/?", "{}\n"])
async def test_an_address_with_more_behind_it_is_refused_on_one_clear_line(base_url: str) -> None:
    with pytest.raises(ConfigError, match="ANTHROPIC_BASE_URL holds a ") as caught:
        Claude([KEY], base_url.format("http://127.0.0.1:1"), MODEL)
    assert "\n" not in str(caught.value)


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["input_tokens", "output_tokens", "output_tokens_details", "cache_creation", "cache_read_input_tokens"]),
        st.none() | st.integers() | st.text() | st.booleans() | st.lists(st.none()),
    )
)
def test_a_usage_is_numbers_of_tokens_or_no_usage(told: dict[str, Any]) -> None:
    try:
        usage = read_usage(told)
    except (KeyError, TypeError, AttributeError, ValueError):
        return
    for tokens in astuple(usage):
        assert type(tokens) is int and 0 <= tokens <= MAX_TOKENS


@pytest.mark.parametrize(
    "body", [{"error": {"type": {"a": 1}, "message": ["x"]}}, {"error": "words"}, [], "words", {"detail": "Not Found"}]
)
@pytest.mark.parametrize("status", [400, 404, 500])
async def test_an_error_in_a_shape_that_is_not_the_api_s_is_an_error_all_the_same(status: int, body: Any) -> None:
    async with server(saying(body, status)) as url:
        error = await failure(url)
    assert isinstance(error, TransientError if status == 500 else RejectedError)
    assert error.status == status


# --- who is there? ---


async def test_a_check_tells_who_answers_and_costs_nothing(simulator: SimulatorControl) -> None:
    async with client(simulator.url) as claude:
        assert await claude.check() == "simulator"
    assert simulator.rows() == []


async def test_a_wrong_key_is_fatal_and_one_right_key_is_enough(simulator: SimulatorControl) -> None:
    async with client(simulator.url, WRONG, WRONG) as claude:
        with pytest.raises(FatalAPIError, match=r"refused the key \(401\).*ANTHROPIC_API_KEY"):
            await claude.check()
    for keys in ((WRONG, KEY), (KEY, WRONG)):
        async with client(simulator.url, *keys) as claude:
            assert await claude.check() == "simulator"


async def test_an_unknown_model_is_fatal_with_its_name(simulator: SimulatorControl) -> None:
    async with client(simulator.url, model="claude-sonnet-99") as claude:
        with pytest.raises(FatalAPIError, match="knows no model 'claude-sonnet-99': change `model`"):
            await claude.check()


async def test_a_model_that_takes_no_schema_after_all_is_asked_in_words() -> None:
    def model(supported: bool) -> dict[str, Any]:
        return {"id": MODEL, "capabilities": {"structured_outputs": {"supported": supported}}}

    async with server(saying(model(supported=False))) as url, client(url) as claude:
        assert await claude.check() == "anthropic"
        assert not claude.facts.uses_schema(SETTINGS)
        assert "format" not in claude.body(PROMPT, SETTINGS).get("output_config", {})
    async with server(saying(model(supported=True))) as url, client(url) as claude:
        assert await claude.check() == "anthropic"
        assert claude.facts.uses_schema(SETTINGS)


@pytest.mark.parametrize("answer", [saying({"detail": "Not Found"}, 404), saying({}, 405), saying({"error": "no"}, 501)])
async def test_a_server_that_keeps_no_list_of_models_passes(answer: Any) -> None:
    async with server(answer) as url, client(url) as claude:
        assert await claude.check() == "anthropic"


@pytest.mark.parametrize(
    "body", [{}, {"capabilities": None}, {"capabilities": []}, {"capabilities": {"structured_outputs": True}}]
)
async def test_a_server_that_says_nothing_of_what_a_model_can_passes(body: Any) -> None:
    async with server(saying(body)) as url, client(url) as claude:
        assert await claude.check() == "anthropic"


async def test_a_web_page_where_models_should_be_is_no_api() -> None:
    async def page(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response(text="<html>", content_type="text/html")

    async with server(page) as url, client(url) as claude:
        with pytest.raises(TransientError, match="web page"):
            await claude.check()


async def checked(claude: Claude, expected: Any) -> None:
    await check_provider(claude, expected, Policy(QUICK))


async def test_where_nothing_listens_a_build_is_told_so_at_once() -> None:
    slow = Policy(Retry(base_delay_seconds=60))
    async with client("http://127.0.0.1:1") as claude:
        with pytest.raises(FatalAPIError, match="nothing listens there.*ANTHROPIC_BASE_URL"):
            await asyncio.wait_for(check_provider(claude, "anthropic", slow), 5)


async def test_a_server_that_stumbles_is_asked_again() -> None:
    asked = 0

    async def stumble(_: web.BaseRequest) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return web.json_response({}, status=200 if asked == 3 else 500)

    async with server(stumble) as url, client(url) as claude:
        await checked(claude, "anthropic")
    assert asked == 3


async def test_a_simulator_is_never_taken_for_the_api_nor_the_api_for_a_simulator(simulator: SimulatorControl) -> None:
    async with client(simulator.url) as claude:
        await checked(claude, "simulator")
        with pytest.raises(FatalAPIError, match="a simulator answers.*option `simulate`"):
            await checked(claude, "anthropic")
    async with server(saying({})) as url, client(url) as claude:
        with pytest.raises(FatalAPIError, match="signed by no simulator"):
            await checked(claude, "simulator")


# --- where ---


@pytest.mark.parametrize(
    "address", ["", "localhost:8000", "ftp://example.com", "http://", "http://[::1", "api.anthropic.com", "http://x:y"]
)
async def test_what_is_no_address_is_refused_with_what_to_write(address: str) -> None:
    with pytest.raises(ConfigError, match=r"ANTHROPIC_BASE_URL .*give http\(s\)://HOST"):
        Claude([KEY], address, MODEL)


async def test_a_password_in_an_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        Claude([KEY], "https://user:hunter2@example.com", MODEL)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("keys", [[], [""], ["sk-\nx"], ["sk-“x”"], ["sk x"], [KEY, ""]])
async def test_what_can_be_no_key_is_refused_and_not_repeated(keys: list[str]) -> None:
    with pytest.raises(ConfigError, match="ANTHROPIC_API_KEY") as caught:
        Claude(keys, "http://127.0.0.1:1", MODEL)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://127.0.0.1:8000", True),
        ("http://127.8.9.1", True),
        ("http://localhost:1/v1", True),
        ("http://[::1]:80", True),
        ("https://api.anthropic.com", False),
        ("http://localhost.example.com", False),
        ("http://10.0.0.1", False),
        ("http://[::1", False),
        ("", False),
    ],
)
def test_an_address_is_this_machine_s_own_or_not(url: str, own: bool) -> None:
    assert is_loopback(url) == own


def test_a_simulation_goes_to_the_simulator_that_is_named_or_starts_its_own(simulator: SimulatorControl) -> None:
    with api_address(Settings(base_url=f"{simulator.url}/v1"), simulate=True) as url:
        assert url == simulator.url
    for elsewhere in (None, "https://api.anthropic.com/v1", "http://[::1"):
        with api_address(Settings(base_url=elsewhere), simulate=True) as url:
            assert is_loopback(url) and url != simulator.url
            assert SimulatorControl(url).usage()["requests"] == 0
        with pytest.raises(OSError):
            SimulatorControl(url).usage()


def test_a_real_build_goes_where_it_is_told() -> None:
    with api_address(Settings(base_url=None), simulate=False) as url:
        assert url == "https://api.anthropic.com"
    with api_address(Settings(base_url="http://127.0.0.1:1/v1/"), simulate=False) as url:
        assert url == "http://127.0.0.1:1"


# --- the key ---


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """An error that repeats everything it was sent, in every field."""
    await request.read()
    said = " ".join([str(dict(request.headers)), request.headers["authorization"].removeprefix("Bearer ")])
    status = int(request.path.split("/")[1])
    if status == 200:
        return web.Response(text=said)
    error = {"type": said, "message": said, "details": {"error_code": said}}
    return web.json_response({"type": "error", "error": error}, status=status)


@pytest.mark.parametrize("status", [200, 400, 401, 404, 429, 500])
async def test_a_key_that_a_server_echoes_is_nowhere(status: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = []
    async with server(echo) as url, client(f"{url}/{status}", KEY, KEY[:-1] + "2") as claude:
        for key in (0, 1):
            try:
                await claude.send(PROMPT, SETTINGS, key)
            except ConvoforgeError as error:
                said += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
        try:
            await claude.check()
        except ConvoforgeError as error:
            said += [str(error), repr(error), repr(vars(error)), "".join(traceback.format_exception(error))]
        said += [repr(claude), str(claude)]
    assert caplog.records  # the SDK does log
    said += [caplog.text, *(repr(vars(record)) for record in caplog.records)]
    assert len(said) > 10
    assert not [text for text in said if KEY[:-1] in text]
