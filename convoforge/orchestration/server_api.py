"""What is asked of a Prefect server without Prefect's own client, which takes seconds to import."""

from __future__ import annotations

import base64
import json
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError

BUSY_SECONDS = 20.0
"""Seconds in which a question is asked again: a server on SQLite sends callers away (503) while it is busy."""

ANSWER_SECONDS = 30.0
"""Maximum seconds until an answer begins."""

READ_SECONDS = 5.0
"""The same where somebody waits for a page, which can do without."""


def answers(url: str) -> bool:
    """Whether a Prefect server is ready at an address."""
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as response:
            return json.load(response) is True
    except (OSError, ValueError):
        return False


def speaks(url: str) -> bool:
    """Whether a server is at an address at all: one that wants a key says so to Prefect, which has it."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/health", timeout=10):
            return True
    except HTTPError:
        return True
    except (OSError, ValueError):
        return False


def admits(url: str, auth: str | None) -> bool:
    """Whether a server lets a caller in who brings this auth string, or none."""
    try:
        with urllib.request.urlopen(_request(f"{url.rstrip('/')}/admin/version", auth), timeout=10):
            return True
    except HTTPError as error:
        return error.code not in (401, 403)
    except OSError:
        return True  # one that is too busy to answer does not refuse


def ask(
    url: str, auth: str | None, path: str, body: object = None, method: str | None = None, seconds: float = ANSWER_SECONDS
) -> Any:
    """What the server answers to a question in JSON, within `seconds`: a GET, or with a body a POST. Raises `OSError` where it does not."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            with urllib.request.urlopen(_request(f"{url}{path}", auth, body, method), timeout=seconds) as response:
                text = response.read()
            return json.loads(text) if text else None
        except HTTPError as error:
            if error.code != 503 or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def _request(url: str, auth: str | None, body: object = None, method: str | None = None) -> urllib.request.Request:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    if auth:
        request.add_header("Authorization", f"Basic {base64.b64encode(auth.encode()).decode()}")
    return request
