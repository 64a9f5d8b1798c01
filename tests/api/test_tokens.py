"""Tokens with scopes, the login of browsers, and what other servers' web pages cannot do."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from convoforge.api.app import make_app
from convoforge.api.headers import SECURITY_HEADERS
from convoforge.api.login import LOGIN_SECONDS, Logins
from convoforge.api.tokens import SCOPES, AccessScope, Token, make_token, read_scopes, read_tokens
from convoforge.errors import ConfigError
from convoforge.settings import Settings

GENERATE = "/api/conversations/generate"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}


@pytest.fixture(scope="module")
def tokens() -> dict[str, tuple[str, str]]:
    scopes = {"viewer": "read", "reviewer": "read,review", "shop": "generate", "chief": "read,admin"}
    return {name: make_token(name, read_scopes(text, "")) for name, text in scopes.items()}


@pytest.fixture(scope="module")
def app(simulator_url: str, tmp_path_factory: pytest.TempPathFactory, tokens: dict[str, tuple[str, str]]) -> FastAPI:
    folder = tmp_path_factory.mktemp("data")
    (folder / "tokens").write_text("\n".join(["# who may ask", "plain-one", *(line for _, line in tokens.values())]))
    settings = Settings(base_url=simulator_url, data_dir=folder, api_token_file=folder / "tokens")
    made = make_app(settings, simulate=True)

    @made.get("/broken")
    async def broken() -> None:
        raise RuntimeError

    return made


@pytest.fixture(scope="module")
def served(app: FastAPI) -> Iterator[str]:
    from served import running

    with running(app) as client:
        yield str(client.base_url)


@pytest.fixture
def client(served: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served, timeout=30, trust_env=False) as client:
        yield client


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# --- the file ---


def test_a_file_holds_plain_tokens_and_hashed_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "tokens"
    made, line = make_token("ci", read_scopes("review, read", ""))
    file.write_text(f"two\nthree,four\n\n# a comment\n{line}\n")
    monkeypatch.setenv("CONVOFORGE_API_TOKEN", "sesame")
    monkeypatch.setenv("CONVOFORGE_API_TOKEN_FILE", str(file))
    found = read_tokens(Settings())
    assert [token.name for token in found] == ["token", "line-1", "line-2", "line-2-2", "ci"]
    assert [token.scopes for token in found] == [SCOPES] * 4 + [{"read", "review"}]
    assert made not in line
    assert "sesame" not in repr(Settings()) + repr(found)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"ci read,reviev sha256:{'0' * 64}", "line 1: unknown scope 'reviev'; did you mean 'review'?"),
        (f"ci sha256:{'0' * 64}", "NAME SCOPES sha256:HEX"),
        ("ci read sha256:abc", "NAME SCOPES sha256:HEX"),
        (f"c:i read sha256:{'0' * 64}", "NAME SCOPES sha256:HEX"),
        (f"ci read sha256:{'0' * 64}\nci read sha256:{'1' * 64}", "two tokens are called ci"),
        (f"local read sha256:{'0' * 64}", "line 1: the audit log calls others 'local': give the token another name"),
        (f"nobody read sha256:{'0' * 64}", "line 1: the audit log calls others 'nobody': give the token another name"),
        (" \n# nothing", "is empty"),
        ("#alice\n  # old secret\n#", "is empty"),
        ("\ufeff# by an editor", "is empty"),
        (f"ci read SHA256:{'0' * 64}", "line 1: a hashed token is written NAME SCOPES sha256:HEX"),
        (f"ci read sha-256:{'0' * 64}", "line 1: a hashed token is written NAME SCOPES sha256:HEX"),
        ("ci read,review", "line 1: a hashed token is written NAME SCOPES sha256:HEX"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "tokens").write_text(line)
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_tokens(Settings(api_token_file=tmp_path / "tokens"))


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_tokens(Settings(api_token_file=tmp_path / "none"))


# --- scopes ---


def test_a_token_may_do_what_its_scopes_say(client: httpx.Client, tokens: dict[str, tuple[str, str]]) -> None:
    def status(name: str, method: str, path: str) -> int:
        return client.request(method, path, json=GOOD if method == "POST" else None, headers=bearer(tokens[name][0])).status_code

    assert {name: status(name, "POST", GENERATE) for name in tokens} == {
        "viewer": 403,
        "reviewer": 403,
        "shop": 201,
        "chief": 403,
    }
    assert {name: status(name, "GET", "/api/costs") for name in tokens} == {
        "viewer": 200,
        "reviewer": 200,
        "shop": 403,
        "chief": 200,
    }
    assert {name: status(name, "POST", f"/api/conversations/{'0' * 24}/reviews/undo") for name in tokens} == {
        "viewer": 403,
        "reviewer": 404,
        "shop": 403,
        "chief": 403,
    }
    assert status("shop", "GET", GENERATE) == 200
    refused = client.post(GENERATE, json=GOOD, headers=bearer(tokens["viewer"][0])).json()["error"]
    assert refused == {"type": "Forbidden", "message": "this token may not do that: it needs the scope generate", "details": {}}
    assert client.post(GENERATE, json=GOOD, headers=bearer("plain-one")).status_code == 201
    assert client.get("/api/costs", headers=bearer(tokens["viewer"][1])).status_code == 401  # the line is no token


OPEN = {"GET /healthz", "GET /readyz", "GET /login", "POST /login", "GET /static/{name}"}
"""What needs no token."""

NO_SCOPE = {"GET /docs", "GET /openapi.json", "POST /logout"}
"""What every token may do."""

NEEDS: dict[str, set[AccessScope]] = {
    "POST /api/builds": {"generate"},
    "POST /api/builds/{build_id}/{action}": {"generate"},
    "POST /api/conversations/generate": {"generate"},
    "POST /api/conversations/generate-batch": {"generate"},
    "GET /start": {"generate"},
    "POST /start": {"generate"},
    "POST /runs/{run}/{action}": {"generate"},
    "GET /api/conversations/generate": {"generate", "read"},
    "GET /api/conversations/{name}": {"generate", "read"},
    "GET /api/templates": {"generate", "read"},
    "GET /api/batches": {"generate", "read"},
    "GET /api/batches/{batch_id}": {"generate", "read"},
    "POST /api/estimate": {"read"},
    "GET /api/datasets/{name}/reviews": {"read", "review"},
    "GET /api/conversations/{conversation_id}/reviews": {"read", "review"},
    "POST /api/conversations/{conversation_id}/reviews": {"review"},
    "POST /api/conversations/{conversation_id}/reviews/undo": {"review"},
    "POST /{kind}/{name}/publish": {"review"},
    "POST /{kind}/{name}/conversations/{conversation_id}/review": {"review"},
    "GET /api/audit": {"admin"},
}
"""What needs one of these scopes; whatever else is read needs `read`."""


@pytest.mark.anyio
async def test_every_route_requires_a_scope(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: list[frozenset[AccessScope]] = [
        frozenset(some) for count in range(4) for some in combinations(sorted(SCOPES), count)
    ]
    tokens = [Token(f"t{at}", some, hashlib.sha256(f"t{at}".encode()).digest()) for at, some in enumerate(allowed)]
    monkeypatch.setattr("convoforge.api.app.read_tokens", lambda _: tokens)
    app = make_app(settings, simulate=True)
    app.state.ledger = SimpleNamespace(full="no room for the audit log")
    described = app.openapi()["paths"]
    routes = [
        (f"{method} {one.original_route.path_format}", method, one.original_route.path_format)
        for one in iter_route_contexts(app.routes)
        for method in one.original_route.methods - {"HEAD"}
    ]
    assert NEEDS.keys() | OPEN | NO_SCOPE <= {name for name, _, _ in routes} and len(routes) > 45
    as_it_fails = httpx.ASGITransport(app, raise_app_exceptions=False)  # nothing is open here: whoever gets in gets an error
    async with httpx.AsyncClient(transport=as_it_fails, base_url="http://localhost") as client:
        for name, method, path in routes:
            address = path.replace("{action}", "pause").replace("{kind}", "datasets").replace("{number}", "1")
            address = re.sub(r"\{[^}]*\}", "0" * 24, address)
            assert ((await client.request(method, address)).status_code == 401) is (name not in OPEN - {"POST /login"}), name
            needs = NEEDS.get(name, {"read"} if method == "GET" else None)
            assert needs or name in OPEN | NO_SCOPE, f"{name} is new: which scope does it need?"
            for token in tokens:
                response = await client.request(method, address, headers=bearer(token.name))
                refused = name not in OPEN | NO_SCOPE and token.scopes.isdisjoint(needs or ())
                assert (response.status_code == 403) is refused, (name, token.scopes, response.text)
            if name not in OPEN | NO_SCOPE and (shown := described.get(path)):
                assert "403" in shown[method.lower()]["responses"], name


# --- the login ---


def log_in(client: httpx.Client, token: str, **headers: str) -> httpx.Response:
    return client.post("/login", data={"token": token, "next": "/docs?a=b"}, headers=headers)


def test_a_browser_logs_in_with_a_token_and_out_again(client: httpx.Client, tokens: dict[str, tuple[str, str]]) -> None:
    asked = client.get("/docs?a=b", headers={"accept": "text/html"})
    assert (asked.status_code, asked.headers["location"]) == (303, "/login?next=/docs%3Fa%3Db")
    assert "/docs?a=b" in client.get(asked.headers["location"]).text
    wrong = log_in(client, "wrong")
    assert (wrong.status_code, "none of the server" in wrong.text, "set-cookie" in wrong.headers) == (401, True, False)
    right = log_in(client, tokens["viewer"][0])
    assert (right.status_code, right.headers["location"]) == (303, "/docs?a=b")
    cookie = right.headers["set-cookie"]
    assert "HttpOnly" in cookie and "SameSite=strict" in cookie and "Secure" not in cookie and "Max-Age" not in cookie
    assert tokens["viewer"][0] not in cookie
    assert client.get("/api/costs").status_code == 200
    assert client.post(GENERATE, json=GOOD).status_code == 403
    assert client.post("/logout").status_code == 303
    assert client.get("/api/costs").status_code == 401


def test_where_the_browser_uses_https_the_cookie_stays_there(client: httpx.Client, tokens: dict[str, tuple[str, str]]) -> None:
    origin = f"https://{client.base_url.netloc.decode()}"
    assert "Secure" in log_in(client, tokens["viewer"][0], origin=origin).headers["set-cookie"]


def test_a_cookie_that_was_changed_or_is_old_is_none(
    app: FastAPI, served: str, tokens: dict[str, tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    with httpx.Client(base_url=served, trust_env=False) as client:
        log_in(client, tokens["viewer"][0])
        ((name, value),) = client.cookies.items()
        for changed in (value.replace("viewer", "chief"), value[:-1], "viewer", ""):
            client.cookies.set(name, changed)
            assert client.get("/api/costs").status_code == 401
        client.cookies.clear()
        log_in(client, tokens["viewer"][0])
        monkeypatch.setattr("convoforge.api.login.LOGIN_SECONDS", -1)
        assert client.get("/api/costs").status_code == 401
    assert LOGIN_SECONDS == 12 * 3600
    assert not Logins(())


@pytest.mark.parametrize("wanted", ["https://evil.example", "//evil.example", "/\\evil.example", "evil", "/a\nb", ""])
def test_a_login_leads_to_no_other_server(client: httpx.Client, tokens: dict[str, tuple[str, str]], wanted: str) -> None:
    assert client.post("/login", data={"token": tokens["viewer"][0], "next": wanted}).headers["location"] == "/"
    assert "<script>" not in client.get("/login", params={"next": '/"><script>alert(1)</script>'}).text


# --- other servers' web pages (CSRF) ---

FOREIGN = [
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:1"},
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_no_page_of_another_server_may_send_anything(client: httpx.Client, headers: dict[str, str]) -> None:
    log_in(client, "plain-one")
    refused = client.post(GENERATE, json=GOOD, headers=headers)
    assert (refused.status_code, refused.json()["error"]["type"]) == (403, "Forbidden")
    own = {"origin": f"http://{client.base_url.netloc.decode()}"}
    assert client.post(GENERATE, json=GOOD, headers=own).status_code == 201
    assert client.post(GENERATE, json=GOOD, headers={**headers, "sec-fetch-site": "same-origin"}).status_code == 201
    assert (
        client.post(GENERATE, json=GOOD, headers={**headers, **bearer("plain-one")}).status_code == 201
    )  # no browser does that by itself


def test_a_server_without_tokens_believes_no_such_page_either(
    settings: Settings, serve_app: Callable[[FastAPI], AbstractContextManager[httpx.Client]]
) -> None:
    with serve_app(make_app(settings, simulate=True)) as client:
        assert client.post(GENERATE, json=GOOD, headers=FOREIGN[0]).status_code == 403
        assert client.post(GENERATE, json=GOOD).status_code == 201
        assert client.get("/login?next=/docs").headers["location"] == "/docs"


# --- headers ---


def test_every_response_has_the_security_headers(client: httpx.Client) -> None:
    for path, host in (
        ("/healthz", None),
        ("/login", None),
        ("/nothing", None),
        (GENERATE, None),
        ("/docs", "evil.example"),
        ("/broken", None),
    ):
        headers = {**(bearer("plain-one") if path != GENERATE else {}), **({"host": host} if host else {})}
        response = client.get(path, headers=headers)
        assert {name: response.headers.get(name) for name in SECURITY_HEADERS} == SECURITY_HEADERS, path
        assert all(len(response.headers.get_list(name)) == 1 for name in SECURITY_HEADERS)
