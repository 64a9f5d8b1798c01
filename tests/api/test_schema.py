"""The description of the HTTP API is true: whatever Schemathesis makes of it gets a response that is described, and never a 500."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from publish.conftest import Dataset, make_rows
from served import running

from convoforge.api.app import make_app
from convoforge.generation.requests import default_spec
from convoforge.planning.spec import change_spec
from convoforge.publish import Layout
from convoforge.settings import Settings

REFUSALS = '"2xx", "3xx", "400", "401", "403", "404", "409", "422", "429", "503"'
CONFIG = f"""
[checks.not_a_server_error]  # the API may fail, and the server may have no Prefect to start builds with
expected-statuses = ["2xx", "3xx", "4xx", "502", "503"]
[checks.positive_data_acceptance]  # a name that nobody has given is well-formed, and refused with a described status
expected-statuses = [{REFUSALS}]
[[operations]]
include-path-regex = "/api/datasets/"
parameters = {{ name = "advice", number = 1 }}
"""


@pytest.fixture(scope="module")
def url(simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = Settings(base_url=simulator_url, data_dir=tmp_path_factory.mktemp("data"))
    Dataset(Layout(settings.data_dir, "datasets", "advice")).publish(make_rows(8))
    spec = change_spec(default_spec("claude-sonnet-5-5"), limits={"max_requests": 1_000_000})
    with running(make_app(settings, spec=spec, simulate=True)) as client:
        yield str(client.base_url)


def ask(url: str, folder: Path, *arguments: str) -> None:
    config = folder / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [Path(sys.executable).with_name("st"), "--config-file", config, "run", f"{url}/openapi.json", "--checks", "all"]
    how = ["--generation-deterministic", "--no-color", "--continue-on-failure", "--warnings", "off", *arguments]
    done = subprocess.run([*map(str, command), *how], capture_output=True, text=True, cwd=folder, timeout=580, check=False)
    assert done.returncode == 0, done.stdout[-6_000:] + done.stderr[-2_000:]
    assert "Tested: " in done.stdout


def test_every_response_is_described(url: str, tmp_path: Path) -> None:
    ask(url, tmp_path, "--phases", "fuzzing", "--max-examples", "1")


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


UNBOUNDED = {
    nested(9): "nested deeper than 8 levels",
    json.dumps(dict.fromkeys(map(str, range(33)), 1)): "33 fields are too many: 32 are allowed",
    json.dumps({"a": ['"'] * 20_000}): "far more names than a request can have",
    json.dumps({"a": "[" * 50_001}): "far more names than a request can have",
    "[" * 50_000: "the body is not JSON",
    '{"a": "\\ud800"}': "the body is not JSON",
    json.dumps({"a": "a" * 1_000_000}): "larger than 1000000 bytes",
}
"""A body that is too large in one way alone, and what is said of it before it is validated."""


@pytest.mark.parametrize(("content", "said"), UNBOUNDED.items(), ids=UNBOUNDED.values())
def test_every_body_is_bounded(url: str, content: str, said: str) -> None:
    with httpx.Client(base_url=url, trust_env=False, timeout=20) as client:
        routes = {path: methods for path, methods in client.get("/openapi.json").json()["paths"].items() if "post" in methods}
        bodies = [path for path, methods in routes.items() if "requestBody" in methods["post"]]
        assert len(bodies) >= 5
        for path in bodies:
            address = re.sub(r"\{[^}]*\}", "0" * 24, path)
            response = client.post(address, content=content, headers={"content-type": "application/json"})
            assert (response.status_code, said in response.text) == (413 if "bytes" in said else 400, True), (path, response.text)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_every_response_is_described_whatever_is_asked(url: str, tmp_path: Path) -> None:
    ask(url, tmp_path, "--phases", "examples,coverage,fuzzing,stateful", "--max-examples", "12")
