"""The clouds that sell Claude, by the SDK's own clients: what each sends, and what is said where something is missing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from aiohttp import web

from convoforge.claude import Claude, MessageBatches
from convoforge.claude.retry import Policy
from convoforge.errors import ConfigError, FatalAPIError, OverloadError, TransientError
from convoforge.generation.answering_model import is_other_model
from convoforge.generation.endpoint import check_provider, limit_label, open_client
from convoforge.generation.requests import default_spec
from convoforge.models import Prompt
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.spec import Generation, Retry
from convoforge.pricing import price_of
from convoforge.settings import APIS, Api, Settings, check_settings, describe_api

pytestmark = pytest.mark.anyio

MODEL = "claude-sonnet-5-5"
SECRET = "sk-cloud-0123456789-secret"
PROMPT = Prompt("You write conversations.", "Write one conversation as JSON.")
SETTINGS = Generation()
CLOUDS = [api for api in APIS if api != "anthropic"]
VARIABLES = """
AWS_REGION AWS_DEFAULT_REGION AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_BEARER_TOKEN_BEDROCK
ANTHROPIC_BEDROCK_BASE_URL CLOUD_ML_REGION ANTHROPIC_VERTEX_PROJECT_ID ANTHROPIC_VERTEX_BASE_URL GOOGLE_APPLICATION_CREDENTIALS
ANTHROPIC_FOUNDRY_API_KEY ANTHROPIC_FOUNDRY_RESOURCE ANTHROPIC_FOUNDRY_BASE_URL ANTHROPIC_AWS_API_KEY ANTHROPIC_AWS_WORKSPACE_ID
ANTHROPIC_AWS_BASE_URL ANTHROPIC_API_KEY ANTHROPIC_BASE_URL CONVOFORGE_API
""".split()
ENOUGH: dict[Api, dict[str, str]] = {
    "bedrock": {"AWS_REGION": "eu-west-1", "AWS_BEARER_TOKEN_BEDROCK": SECRET},
    "vertex": {"CLOUD_ML_REGION": "europe-west1", "ANTHROPIC_VERTEX_PROJECT_ID": "house"},
    "foundry": {"ANTHROPIC_FOUNDRY_API_KEY": SECRET, "ANTHROPIC_FOUNDRY_RESOURCE": "house"},
    "aws": {"AWS_REGION": "eu-west-1", "ANTHROPIC_AWS_API_KEY": SECRET, "ANTHROPIC_AWS_WORKSPACE_ID": "wrkspc_1"},
}
ADDRESSES: dict[Api, str] = {
    "bedrock": "https://bedrock-runtime.eu-west-1.amazonaws.com",
    "vertex": "https://europe-west1-aiplatform.googleapis.com/v1",
    "foundry": "https://house.services.ai.azure.com/anthropic",
    "aws": "https://aws-external-anthropic.eu-west-1.api.aws",
}
PATHS: dict[Api, str] = {
    "bedrock": f"/model/{MODEL}/invoke",
    "vertex": f"/projects/house/locations/europe-west1/publishers/anthropic/models/{MODEL}:rawPredict",
    "foundry": "/v1/messages",
    "aws": "/v1/messages",
}


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def give(monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    """Set what a cloud needs."""
    for name, value in ENOUGH[api].items():
        monkeypatch.setenv(name, value)
    if api == "vertex":  # its library is in no test environment
        monkeypatch.setattr("convoforge.claude.clouds.find_spec", lambda _: object())


class Server:
    """A cloud of one machine: it keeps what it was sent, and answers with what a test puts into it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.status, self.said = 200, message()
        self.url = ""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.path, headers, await request.json() if request.can_read_body else None))
        said = self.said if self.status == 200 else {**self.said, "echo": str(headers)}
        return web.json_response(said, status=self.status)


def message() -> dict[str, Any]:
    usage = {"input_tokens": 10, "output_tokens": 20}
    content = [{"type": "text", "text": "words"}]
    return {"type": "message", "model": MODEL, "content": content, "stop_reason": "end_turn", "usage": usage}


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    answering = Server()
    runner = web.ServerRunner(web.Server(answering))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    answering.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield answering
    await runner.cleanup()


@pytest.fixture
async def made(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """Makes clients for clouds, and closes them."""
    clients: list[Claude] = []

    def make(api: Api, url: str | None = None, model: str = MODEL) -> Claude:
        give(monkeypatch, api)
        claude = Claude((), url, model, timeout_seconds=5, api=api)
        if api == "vertex":
            claude._clients[0].access_token = SECRET
        clients.append(claude)
        return claude

    yield make
    for one in clients:
        await one.aclose()


@pytest.mark.parametrize("api", CLOUDS)
async def test_a_cloud_is_where_the_sdk_s_own_environment_says(api: Api, made: Any) -> None:
    claude = made(api)
    assert (claude.base_url, claude.keys) == (ADDRESSES[api], 1)
    assert claude.facts.known and not claude.facts.reported


@pytest.mark.parametrize("api", CLOUDS)
async def test_a_conversation_comes_from_a_cloud_as_from_the_api(api: Api, made: Any, server: Server) -> None:
    reply = await made(api, server.url).send(PROMPT, SETTINGS)
    assert (reply.text, reply.usage.output_tokens, reply.model, reply.provider) == ("words", 20, MODEL, "anthropic")
    [(path, headers, body)] = server.seen
    assert path == PATHS[api]
    assert SECRET in str(headers)
    assert body["messages"] == [{"role": "user", "content": PROMPT.user}]
    assert body["output_config"]["format"]["type"] == "json_schema"
    assert ("model" in body) == (api in ("foundry", "aws"))
    assert headers.get("anthropic-workspace-id") == ("wrkspc_1" if api == "aws" else None)


async def test_calls_are_signed_where_aws_credentials_are_all_there_is(
    monkeypatch: pytest.MonkeyPatch, made: Any, server: Server
) -> None:
    give(monkeypatch, "bedrock")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    claude = Claude((), server.url, f"eu.anthropic.{MODEL}-v1:0", api="bedrock")
    assert (await claude.send(PROMPT, SETTINGS)).text == "words"
    await claude.aclose()
    [(path, headers, _)] = server.seen
    assert path == f"/model/eu.anthropic.{MODEL}-v1:0/invoke"
    assert headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/")
    assert SECRET not in str(headers)


@pytest.mark.parametrize("api", CLOUDS)
async def test_a_cloud_s_errors_are_those_of_the_api_and_show_no_secret(api: Api, made: Any, server: Server) -> None:
    claude = made(api, server.url)
    for status, kind, expected in (
        (401, "authentication_error", FatalAPIError),
        (429, "rate_limit_error", OverloadError),
        (503, "api_error", TransientError),
    ):
        server.status, server.said = status, {"type": "error", "error": {"type": kind, "message": f"no, {SECRET}"}}
        with pytest.raises(expected) as caught:
            await claude.send(PROMPT, SETTINGS)
        assert SECRET not in f"{caught.value!r} {vars(caught.value)}"
    assert len(server.seen) == 3  # the SDK's own retries are off


@pytest.mark.parametrize("api", ["bedrock", "vertex"])
async def test_a_temperature_goes_with_the_old_version_in_the_body(api: Api, made: Any, server: Server) -> None:
    claude = made(api, server.url, "claude-sonnet-4-6")
    assert (await claude.send(PROMPT, Generation(temperature=0.7))).temperature_applied
    await claude.send(PROMPT, SETTINGS)
    versions = [body["anthropic_version"] for _, _, body in server.seen]
    assert versions[0] == "2023-06-01" != versions[1]


@pytest.mark.parametrize(
    "name",
    [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "claude-sonnet-4-5@20250929",
        "global.anthropic.claude-sonnet-4-5",
    ],
)
def test_a_model_is_known_and_priced_by_the_name_that_a_cloud_gives_it(name: str) -> None:
    plain = "claude-sonnet-4-5"
    assert snapshot_facts(name) == replace(snapshot_facts(plain), id=name)
    assert price_of(name) == price_of(plain)
    assert price_of(name, batch=True) == price_of(plain, batch=True)
    assert not is_other_model(name, f"{plain}-20250929")
    with pytest.raises(ConfigError, match="no price is known for the model 'us.anthropic.claude-nobody-9'"):
        price_of("us.anthropic.claude-nobody-9")


# --- what a cloud does not have ---


@pytest.mark.parametrize("api", CLOUDS)
async def test_message_batches_are_refused_before_anything_is_sent(api: Api, made: Any, server: Server) -> None:
    claude = made(api, server.url)
    if api == "aws":
        assert isinstance(claude.message_batches(), MessageBatches)
        return
    with pytest.raises(ConfigError, match=f"CONVOFORGE_API={api} has no message batches: set mode to online"):
        claude.message_batches()
    with pytest.raises(ConfigError, match="has no message batches"):
        check_settings(Settings(api=api), simulate=False, batch=True)
    check_settings(Settings(api=api), simulate=True, batch=True)
    assert server.seen == []


@pytest.mark.parametrize("api", CLOUDS)
async def test_a_check_asks_only_a_cloud_that_tells_of_its_models(api: Api, made: Any, server: Server) -> None:
    server.said = {"id": MODEL, "max_tokens": 99}
    claude = made(api, server.url)
    await check_provider(claude, "anthropic", Policy(Retry()))
    assert [path for path, _, _ in server.seen] == ([f"/v1/models/{MODEL}"] if api == "aws" else [])
    assert (claude.facts.max_tokens == 99) == claude.facts.reported == (api == "aws")


@pytest.mark.parametrize("api", CLOUDS)
async def test_tokens_are_counted_where_a_cloud_counts_them(api: Api, made: Any, server: Server) -> None:
    server.said = {"input_tokens": 7}
    claude = made(api, server.url)
    if api == "bedrock":
        with pytest.raises(ConfigError, match="counts no tokens"):
            await claude.count_tokens(PROMPT, SETTINGS)
        assert server.seen == []
    else:
        assert await claude.count_tokens(PROMPT, SETTINGS) == 7


def test_a_plan_says_what_a_cloud_does_not_tell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from convoforge.cli import main  # here, as the API's tests look at all error classes that are imported

    configs = tmp_path / "configs"
    shutil.copytree(Settings().config_dir, configs)
    demo = configs / "datasets" / "demo.yaml"
    (configs / "datasets" / "batched.yaml").write_text(
        demo.read_text().replace("name: demo", "name: batched") + "\nmode: batch\n"
    )
    assert list(describe_api("anthropic")) == []
    monkeypatch.setenv("CONVOFORGE_API", "bedrock")
    monkeypatch.setenv("CONVOFORGE_CONFIG_DIR", str(configs))
    with pytest.raises(SystemExit, match="0"):
        main(["plan", "demo"])
    said = " ".join(capsys.readouterr().out.split())
    assert "the facts are those of the package's snapshot" in said
    assert "estimated by letters" in said
    assert "the price list of CONVOFORGE_API=bedrock may differ" in said
    assert "within 24 h" not in said
    with pytest.raises(SystemExit, match="2"):
        main(["plan", "batched"])
    assert "CONVOFORGE_API=bedrock has no message batches" in capsys.readouterr().err


# --- what is missing ---


@pytest.mark.parametrize(
    ("api", "without", "said"),
    [
        ("bedrock", "AWS_REGION", "set AWS_REGION"),
        ("vertex", "CLOUD_ML_REGION", "set CLOUD_ML_REGION"),
        ("vertex", "ANTHROPIC_VERTEX_PROJECT_ID", "ANTHROPIC_VERTEX_PROJECT_ID is not set"),
        ("foundry", "ANTHROPIC_FOUNDRY_API_KEY", "set ANTHROPIC_FOUNDRY_API_KEY"),
        ("foundry", "ANTHROPIC_FOUNDRY_RESOURCE", "ANTHROPIC_FOUNDRY_RESOURCE"),
        ("aws", "AWS_REGION", "set AWS_REGION"),
        ("aws", "ANTHROPIC_AWS_WORKSPACE_ID", "ANTHROPIC_AWS_WORKSPACE_ID"),
    ],
)
async def test_what_is_not_set_is_named_on_one_line(api: Api, without: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    give(monkeypatch, api)
    monkeypatch.delenv(without)
    with pytest.raises(ConfigError, match=said) as caught:
        Claude((), None, MODEL, api=api)
    assert str(caught.value).startswith(f"CONVOFORGE_API={api}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("api", "package"), [("bedrock", "boto3"), ("aws", "boto3"), ("vertex", "google.auth")])
async def test_a_package_that_is_missing_is_named_with_what_to_install(
    api: Api, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    give(monkeypatch, api)
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("convoforge.claude.clouds.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"needs the package {package}: pip install 'convoforge\[{api}\]'"):
        Claude((), None, MODEL, api=api)


@pytest.mark.parametrize("api", ["bedrock", "aws"])
async def test_credentials_that_are_nowhere_stop_a_run_with_what_to_set(
    api: Api, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    give(monkeypatch, api)
    for name in ("AWS_BEARER_TOKEN_BEDROCK", "ANTHROPIC_AWS_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_REGION", f"{api}-south-1")  # the SDK keeps what it has found for a region
    claude = Claude((), server.url, MODEL, api=api)
    with pytest.raises(FatalAPIError, match="no usable credentials .*: set AWS_REGION") as caught:
        await claude.send(PROMPT, SETTINGS)
    await claude.aclose()
    assert (caught.value.kind, caught.value.maybe_billed, server.seen) == ("credentials", False, [])


@pytest.mark.parametrize("name", ["azure", "", "anthropic,bedrock"])
def test_an_api_that_nobody_knows_is_refused_with_those_that_are(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="is unknown; known: anthropic, bedrock, vertex, foundry, aws"):
        Settings(api=name)
    assert get_args(Api) == APIS


# --- how a run finds it ---


async def test_a_run_goes_to_the_cloud_that_is_named_and_a_simulation_does_not(
    monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    give(monkeypatch, "bedrock")
    monkeypatch.setenv("CONVOFORGE_API", " Bedrock ")
    settings, spec = Settings(), default_spec(MODEL)
    assert (settings.api, settings.accounts, settings.keys) == ("bedrock", ("bedrock",), ())
    async with open_client(settings, spec, simulate=False) as claude:
        assert claude.base_url == ADDRESSES["bedrock"]
        assert limit_label(spec, claude.base_url, "anthropic") == ADDRESSES["bedrock"]
    monkeypatch.setenv("ANTHROPIC_BASE_URL", server.url)  # a simulator of one's own
    async with open_client(Settings(), spec, simulate=True) as claude:
        assert claude.base_url == server.url
        await claude.send(PROMPT, SETTINGS)
    [(path, _, _)] = server.seen
    assert path == "/v1/messages"
