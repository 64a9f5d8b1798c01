"""HTTP's own questions: which methods a path takes, and a head without a body."""

from __future__ import annotations

import http.client

import httpx
import pytest

PATHS = {
    "/api/conversations/generate": {"GET", "HEAD", "OPTIONS", "POST"},
    "/api/conversations/generate-batch": {"OPTIONS", "POST"},
    "/healthz": {"GET", "HEAD", "OPTIONS"},
}


@pytest.mark.parametrize("path", PATHS)
def test_a_path_says_what_it_takes(client: httpx.Client, path: str) -> None:
    for response in (client.options(path), client.delete(path)):
        assert set(response.headers["allow"].split(", ")) == PATHS[path]
    assert (client.options(path).status_code, client.options(path).content) == (204, b"")
    assert client.delete(path).status_code == 405


def test_no_web_page_is_allowed_to_ask(client: httpx.Client) -> None:
    asked = {"origin": "http://evil.example", "access-control-request-method": "POST"}
    assert not any(
        name.startswith("access-control") for name in client.options("/api/conversations/generate", headers=asked).headers
    )


@pytest.mark.parametrize("path", ["/api/conversations/generate", "/healthz"])
def test_head_has_the_headers_of_get_and_no_body(client: httpx.Client, path: str) -> None:
    assert client.get(path).status_code == 200
    connection = http.client.HTTPConnection(str(client.base_url.host), client.base_url.port or 80, timeout=10)
    for _ in range(2):  # a body that was sent nevertheless would be taken for the next answer
        connection.request("HEAD", path)
        response = connection.getresponse()
        assert (response.status, response.read()) == (200, b"")
        assert int(response.headers["content-length"]) > 0
    connection.close()


def test_a_path_that_is_not_there_is_not_found_by_any_method(client: httpx.Client) -> None:
    assert {client.request(method, "/nothing").status_code for method in ("GET", "HEAD", "OPTIONS", "POST")} == {404}
