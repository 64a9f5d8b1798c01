"""Reads and checks requests of the Messages API as the API does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import orjson

from convoforge.candidates import CANDIDATES_SCHEMA
from convoforge.parsing import ANSWER_SCHEMA
from convoforge.simulator.catalogue import MODELS, Model
from convoforge.simulator.faults import ApiError
from convoforge.simulator.thinking import count_thinking, read_effort

CURRENT_VERSION = "2026-10-21"
VERSIONS = ("2023-06-01", CURRENT_VERSION)
SAMPLING = {"temperature": 1, "top_p": None, "top_k": None}
"""Parameters that the current API version refuses, each with the only value that newer models take in the older version."""

FIELDS = {
    "model", "max_tokens", "messages", "system", "stream", "output_config", "thinking", "metadata", "stop_sequences", "service_tier",
    *SAMPLING,
}  # fmt: skip
CACHE_MARK = {"type": "ephemeral"}


@dataclass(frozen=True, slots=True)
class InputBlock:
    """A block of the input. `cached` marks the end of a prefix that may be cached."""

    text: str
    cached: bool = False


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A checked request. `prompt` is system and messages as one text, `key` a hash of it. `blocks` are in the order of the cache.
    `structured` is whether the answer must follow the schema of conversations, `criteria` are those of a judge's schema, with the most
    points of each, and `effort` is None if thinking is off."""

    model: Model
    prompt: str
    key: int
    blocks: tuple[InputBlock, ...]
    max_tokens: int
    structured: bool = False
    criteria: Mapping[str, int] = field(default_factory=dict)
    effort: str | None = None

    @property
    def thinking_tokens(self) -> int:
        """Number of thinking tokens before the answer, within `max_tokens`."""
        return count_thinking(self.effort, self.key, self.max_tokens)

    @property
    def input_tokens(self) -> int:
        """Number of tokens in the whole input."""
        return self.model.count_tokens(sum(len(block.text) for block in self.blocks))


def read_request(raw: bytes, version: str | None, *, counting: bool = False) -> ParsedRequest:
    """Read the request in a body; `counting`: for a token count, without `max_tokens`. Raises ApiError as the API would."""
    version, body = check_version(version), read_object(raw)
    try:
        return _read_fields(body, version, counting=counting)
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise ApiError(400, f"Input should be a valid request: {error}") from None


def _read_fields(body: Mapping[str, Any], version: str, *, counting: bool) -> ParsedRequest:
    model = _read_model(body)
    for name in body:
        if name not in FIELDS or (name in SAMPLING and version == CURRENT_VERSION):
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
    if body.get("stream"):
        raise ApiError(400, "stream: the simulator does not stream answers")
    _check_sampling(body, model)
    output = body.get("output_config") or {}
    max_tokens = 0 if counting else _read_max_tokens(body, model)
    effort = _read_effort(body, output, model)
    structured, criteria = _read_format(output.get("format"), model)
    texts = (*_read_blocks(body.get("system") or []), *_read_messages(body.get("messages")))
    schema = orjson.dumps(output["format"]["schema"]).decode() if structured or criteria else ""
    blocks = (InputBlock(schema), *texts) if schema else texts
    prompt = "\n".join([block.text for block in texts])
    key = int.from_bytes(blake2b(prompt.encode(errors="surrogatepass"), digest_size=8).digest())
    asked = ParsedRequest(model, prompt, key, blocks, max_tokens, structured, criteria, effort)
    if asked.input_tokens > model.max_input_tokens:
        raise ApiError(400, f"prompt is too long: {asked.input_tokens} tokens > {model.max_input_tokens} maximum")
    return asked


def check_version(version: str | None) -> str:
    """Return the version. Raises the 400 if it is unknown."""
    if version not in VERSIONS:
        raise ApiError(400, f"anthropic-version: '{version}' is unknown" if version else "anthropic-version: header is required")
    return version


def read_object(raw: bytes) -> dict[str, Any]:
    """Read the JSON object in a body. Raises the 400 if there is none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Input should be a valid dictionary")
    return body


def _read_model(body: Mapping[str, Any]) -> Model:
    name = body.get("model")
    if not isinstance(name, str):
        raise ApiError(400, "model: Field required" if name is None else "model: Input should be a valid string")
    if name not in MODELS or MODELS[name].lifecycle == "retired":
        raise ApiError(404, f"model: {name}")
    return MODELS[name]


def _check_sampling(body: Mapping[str, Any], model: Model) -> None:
    for name, default in SAMPLING.items():
        if name in body and not model.temperature and body[name] != default:
            raise ApiError(400, f"{name}: may only be left at its default for {model.id}")
    if not 0 <= body.get("temperature", 1) <= 1:
        raise ApiError(400, "temperature: Input should be between 0 and 1")


def _read_max_tokens(body: Mapping[str, Any], model: Model) -> int:
    wanted = body.get("max_tokens")
    if type(wanted) is not int:
        raise ApiError(400, "max_tokens: Field required" if wanted is None else "max_tokens: Input should be a valid integer")
    if wanted < 1:
        raise ApiError(400, "max_tokens: must be greater than or equal to 1")
    if wanted > model.max_tokens:
        limit = f"{model.max_tokens}, which is the maximum allowed number of output tokens for {model.id}"
        raise ApiError(400, f"max_tokens: {wanted} > {limit}")
    return wanted


def _read_effort(body: Mapping[str, Any], output: Mapping[str, Any], model: Model) -> str | None:
    effort = read_effort(body.get("thinking") or {}, output.get("effort"), model)
    if effort is not None and body.get("temperature", 1) != 1:
        raise ApiError(400, "`temperature` may only be set to 1 when thinking is enabled.")
    return effort


def _read_format(wanted: Mapping[str, Any] | None, model: Model) -> tuple[bool, Mapping[str, int]]:
    """Whether the answer must follow the schema of conversations, and the criteria of a judge's schema: no other one is supported."""
    if not wanted:
        return False, {}
    if not model.structured:
        raise ApiError(400, f"output_config.format: structured outputs are not supported by {model.id}")
    if wanted.get("schema") in (ANSWER_SCHEMA, CANDIDATES_SCHEMA) and wanted == {
        "type": "json_schema",
        "schema": wanted["schema"],
    }:
        return True, {}
    try:
        criteria = {name: max(one["properties"]["points"]["enum"]) for name, one in wanted["schema"]["properties"].items()}
    except (KeyError, TypeError, AttributeError, ValueError):
        criteria = {}
    if not criteria:
        raise ApiError(400, "output_config.format: the simulator takes only the schema of conversations, and a judge's")
    return False, criteria


def _read_messages(messages: Any) -> Iterator[InputBlock]:
    if not messages:
        raise ApiError(400, "messages: at least one message is required")
    for index, message in enumerate(messages):
        if message["role"] not in ("user", "assistant"):
            raise ApiError(400, f"messages.{index}.role: Input should be 'user' or 'assistant'")
        if not message["content"]:
            raise ApiError(400, f"messages.{index}: {message['role']} messages must have non-empty content")
        yield from _read_blocks(message["content"])
    if messages[-1]["role"] == "assistant":
        raise ApiError(400, "This model does not support assistant message prefill.")


def _read_blocks(content: Any) -> Iterator[InputBlock]:
    for block in [{"text": content}] if isinstance(content, str) else content:
        if not block["text"].strip():
            raise ApiError(400, "text content blocks must be non-empty")
        mark = block.get("cache_control")
        if mark not in (None, CACHE_MARK):
            raise ApiError(400, f"cache_control: the simulator takes only {CACHE_MARK}")
        yield InputBlock(block["text"], cached=mark is not None)
