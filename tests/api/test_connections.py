"""What clients do that send half a request, or read no answer, or come in thousands: they hold up nobody, and not the end."""

from __future__ import annotations

import json
import logging
import resource
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

from convoforge.api.app import make_app
from convoforge.api.connections import Deadlines, http_protocol, most_connections
from convoforge.settings import Settings

GENERATE = "/api/conversations/generate"
HEAD = f"POST {GENERATE} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


class Served:
    """A server within deadlines, and raw connections to it."""

    def __init__(self, server: uvicorn.Server, thread: threading.Thread) -> None:
        self.server, self.thread = server, thread
        self.port = server.servers[0].sockets[0].getsockname()[1]

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(20)
        assert not self.thread.is_alive(), "the server does not end"


@contextmanager
def serving(app: FastAPI, **deadlines: float) -> Iterator[Served]:
    protocol = http_protocol(Deadlines(**{"head_seconds": 0.3, "body_seconds": 0.3, "read_seconds": 0.3, **deadlines}))  # type: ignore[arg-type]
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, http=protocol, ws="none", timeout_graceful_shutdown=60))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    served = Served(server, thread)
    try:
        yield served
    finally:
        served.stop()


@pytest.fixture
def app(settings: Settings) -> FastAPI:
    return make_app(settings, simulate=True)


def answer(connection: socket.socket) -> bytes:
    """All that is sent until the connection is closed."""
    parts = []
    while part := connection.recv(65_536):
        parts.append(part)
    return b"".join(parts)


@pytest.mark.parametrize(
    ("sent", "what"),
    [
        (b"P", "headers"),
        (HEAD.encode(), "headers"),
        (f"{HEAD}content-length: 100\r\n\r\n".encode(), "body"),
        (f"{HEAD}content-length: 100\r\n\r\n{{".encode(), "body"),
        (f"{HEAD}transfer-encoding: chunked\r\n\r\n5\r\n".encode(), "body"),
        (f"GET {GENERATE} HTTP/1.1\r\nhost: localhost\r\n\r\nG".encode(), "headers"),
    ],
)
def test_half_a_request_is_closed_in_time(app: FastAPI, sent: bytes, what: str) -> None:
    with serving(app) as served, served.connect() as connection:
        connection.sendall(sent)
        said = answer(connection)
    assert b"HTTP/1.1 408" in said
    assert b"content-security-policy: default-src 'none'" in said
    body = json.loads(said.rpartition(b"\r\n\r\n")[2])
    assert (body["error"]["type"], what in body["error"]["message"]) == ("RequestTimeout", True)


def test_bytes_that_drip_do_not_lengthen_the_time(app: FastAPI) -> None:
    with serving(app) as served, served.connect() as connection:
        began = time.monotonic()
        connection.sendall(f"{HEAD}content-length: 100000\r\n\r\n".encode())
        with pytest.raises(OSError):
            while time.monotonic() - began < 20:
                connection.sendall(b" ")
                time.sleep(0.05)


def test_who_says_nothing_is_told_nothing(app: FastAPI) -> None:
    with serving(app) as served, served.connect() as connection:
        assert answer(connection) == b""


def test_a_body_that_goes_on_after_its_answer_holds_no_connection(app: FastAPI) -> None:
    with serving(app) as served, served.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100000\r\n\r\n")
        with pytest.raises(OSError):
            for _ in range(400):
                connection.sendall(b"x")
                time.sleep(0.05)


def test_half_sent_requests_do_not_keep_the_server_from_ending(app: FastAPI) -> None:
    with serving(app, head_seconds=600, body_seconds=600) as served, ExitStack() as stack:
        for sent in (b"", b"P", HEAD.encode(), f"{HEAD}content-length: 100\r\n\r\n{{".encode()):
            stack.enter_context(connection := served.connect())
            connection.sendall(sent)
        assert httpx.get(f"http://127.0.0.1:{served.port}/healthz", trust_env=False).status_code == 200
        served.stop()


def test_who_does_not_read_the_answer_is_left(app: FastAPI) -> None:
    @app.get("/large")
    async def large() -> PlainTextResponse:
        return PlainTextResponse("x" * 50_000_000)

    with serving(app) as served, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.connect(("127.0.0.1", served.port))
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: localhost\r\n\r\n")
        deadline = time.monotonic() + 20
        while not served.server.server_state.connections or served.server.server_state.total_requests == 0:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        while served.server.server_state.connections:
            assert time.monotonic() < deadline, "the connection stays"
            time.sleep(0.01)


def test_more_connections_than_allowed_are_turned_away_with_one_line_in_the_log(
    app: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger="convoforge.api")
    with serving(app, connections=5, head_seconds=600) as served, ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(served.connect())
        for _ in range(20):
            with served.connect() as connection:
                said = answer(connection)
            assert said.startswith(b"HTTP/1.1 503") and b"retry-after" in said
        stack.close()
        deadline = time.monotonic() + 20
        while served.server.server_state.connections:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert httpx.get(f"http://127.0.0.1:{served.port}/healthz", trust_env=False).status_code == 200
    assert len([record for record in caplog.records if "turned away" in record.getMessage()]) == 1


def test_what_is_no_http_is_told_so_and_closed(app: FastAPI) -> None:
    with serving(app) as served:
        for sent in (b"\x16\x03\x01\x02\x00\x01\n\n", b"GET /" + b"x" * 100_000):
            with served.connect() as connection:
                connection.sendall(sent)
                assert b" 400 " in answer(connection).split(b"\r\n")[0]


def test_a_good_request_is_answered_on_a_connection_that_is_used_again(app: FastAPI) -> None:
    body = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
    with serving(app, head_seconds=20, body_seconds=20) as served:
        with httpx.Client(base_url=f"http://127.0.0.1:{served.port}", trust_env=False) as client:
            assert [client.post(GENERATE, json=body).status_code for _ in range(3)] == [201] * 3


def test_there_are_no_more_connections_than_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "setrlimit", lambda *_: None)
    for limit, most in [
        ((1024, 1024), 480),
        ((100, 100), 18),
        ((10_000, 10_000), 2_000),
        ((64, 1_000_000), 2_000),
        ((-1, -1), 2_000),
    ]:
        monkeypatch.setattr(resource, "getrlimit", lambda _, limit=limit: limit)
        assert most_connections(2_000, 1_000) == most
