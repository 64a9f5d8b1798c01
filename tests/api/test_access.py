"""Who may ask: by the host that was asked for, and by a token; and what nobody is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from convoforge.api.access import HostCheck, host_name, is_loopback
from convoforge.api.app import make_app
from convoforge.api.errors import explain
from convoforge.api.headers import SECURITY_HEADERS
from convoforge.errors import ConfigError, FatalAPIError, LimiterClosed, TransientError
from convoforge.generation.requests import default_spec
from convoforge.planning.spec import change_spec
from convoforge.settings import Settings
from convoforge.simulator.client import SimulatorControl

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
ServeApp = Callable[[FastAPI], AbstractContextManager[httpx.Client]]


# --- the host: a web page whose name was pointed at this address (DNS rebinding) ---


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[::2]"]
)
def test_a_request_to_another_host_is_refused_and_pays_nothing(
    client: httpx.Client, simulator: SimulatorControl, host: str
) -> None:
    for response in (client.post(GENERATE, json=GOOD, headers={"host": host}), client.get("/healthz", headers={"host": host})):
        assert response.status_code == 421
        assert response.json()["error"]["type"] == "MisdirectedRequest"
    assert simulator.rows() == []


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:8000", "127.8.8.8"])
def test_on_loopback_its_names_are_ours(client: httpx.Client, host: str) -> None:
    assert client.get("/healthz", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("192.0.2.7:8000", True),
        ("[2001:db8::1]:8000", True),
        ("api.example", True),
        ("API.example.:8000", True),
        ("evil.example", False),
    ],
)
def test_elsewhere_an_address_is_ours_and_a_name_only_if_it_was_given(host: str, ours: bool) -> None:
    check = HostCheck(lambda *_: None, also=("api.example",))  # type: ignore[arg-type,return-value]
    assert check._is_ours([host], ("192.0.2.7", 8000)) is ours
    assert not check._is_ours([host, host], ("192.0.2.7", 8000))
    assert not check._is_ours([], ("192.0.2.7", 8000))


def test_hosts_are_read_as_they_are_written() -> None:
    assert [host_name(host) for host in ("A.b:80", "[::1]:80", "a.b.", "::1")] == ["a.b", "::1", "a.b", ""]
    assert [is_loopback(host) for host in ("127.0.0.1", "::1", "::ffff:127.0.0.1", "localhost", "0.0.0.0", "::", "10.0.0.1", "x")] == [
        True, True, True, True, False, False, False, False,
    ]  # fmt: skip


# --- tokens ---


@pytest.fixture
def guarded(settings: Settings, serve_app: ServeApp) -> AbstractContextManager[httpx.Client]:
    guarded = settings.model_copy(update={"api_token": Settings(api_token="first-token, second-token").api_token})
    return serve_app(make_app(guarded, simulate=True))


def test_where_there_are_tokens_a_caller_brings_one(
    guarded: AbstractContextManager[httpx.Client], simulator: SimulatorControl
) -> None:
    with guarded as client:
        for header in (
            "",
            "Bearer",
            "Bearer wrong",
            "Bearer first-token-",
            "Bearer first",
            "Basic first-token",
            "first-token",
            "Bearer ünd",
        ):
            for method, path in (
                ("POST", GENERATE),
                ("GET", GENERATE),
                ("GET", "/docs"),
                ("GET", "/openapi.json"),
                ("GET", "/nothing"),
            ):
                response = client.request(
                    method, path, json=GOOD, headers={"authorization": header.encode("latin-1")} if header else {}
                )
                assert response.status_code == 401
                assert response.headers["www-authenticate"].startswith("Bearer")
                assert response.json()["error"]["type"] == "Unauthorized"
        assert simulator.rows() == []
        for token in ("first-token", "second-token"):
            assert client.post(GENERATE, json=GOOD, headers={"authorization": f"bearer {token}"}).status_code == 201
        assert client.get("/healthz").status_code == 200


# --- what is told ---


def test_the_page_about_the_routes_loads_nothing_from_elsewhere(client: httpx.Client) -> None:
    response = client.get("/docs")
    assert response.status_code == 200
    assert re.findall(r"https?:|(?:src|href)=\"(?![/#])|<style|<script(?! src=\"/static/)", response.text) == []
    assert response.headers["content-security-policy"] == SECURITY_HEADERS["content-security-policy"]
    for words in ("POST /api/conversations/generate-batch", "openapi.json"):
        assert words in response.text
    assert client.get("/redoc").status_code == 404


@pytest.mark.parametrize(
    "error",
    [
        TransientError(
            "no answer from http://10.1.2.3:36919: nothing listens there (Cannot connect to host gw.corp:443)", kind="unreachable"
        ),
        TransientError("no answer from https://gw.corp.internal: the connection broke", kind="connection"),
        FatalAPIError("the server sends one elsewhere (302), to http://gw.corp.internal/login: set it", status=302),
        LimiterClosed("no answer from http://10.1.2.3:36919: see ('10.1.2.3', 36919) and [fd00::1]:80"),
        ConfigError("postgresql at 10.1.2.3"),
    ],
)
def test_no_message_tells_an_address_of_the_network_inside(error: Exception) -> None:
    _, body = explain(error, {})
    assert not re.search(r"corp|10\.1\.2\.3|36919|fd00", body.model_dump_json())


def test_an_api_that_cannot_be_reached_is_told_without_its_address(
    settings: Settings, simulator: SimulatorControl, serve_app: ServeApp
) -> None:
    fast: dict[str, Any] = {"base_delay_seconds": 0.01, "jitter_seconds": 0.0}
    spec = change_spec(default_spec("claude-sonnet-5-5"), retry=fast)
    simulator.script("reset", "reset", "reset")
    with serve_app(make_app(settings, spec=spec, simulate=True)) as client:
        response = client.post(GENERATE, json=GOOD)
    assert response.status_code == 502
    assert "127.0.0.1" not in response.text
    assert response.json()["error"]["details"]["kind"] == "connection"
