"""A request of the Messages API, read and checked as the API does it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import orjson

from convoforge.simulator import schema
from convoforge.simulator.catalogue import MODELS, Model
from convoforge.simulator.faults import ERRORS, Fault
from convoforge.simulator.thinking import Refused, SimulatedThinking, read_thinking

CURRENT_VERSION = "2026-10-21"
VERSIONS = ("2023-06-01", CURRENT_VERSION)
SAMPLING = {"temperature": 1, "top_p": None, "top_k": None}
"""The parameters that newer API versions no longer know, and the only value newer models take in an older version."""

FIELDS = {
    "model", "max_tokens", "messages", "system", "stream", "output_config", "thinking", "cache_control", "metadata", "stop_sequences",
    "service_tier", "tools", "tool_choice", "container", "diagnostics", "inference_geo", "speed", *SAMPLING,
}  # fmt: skip
LIFETIMES = {"5m": 300, "1h": 3600}


class ApiError(Exception):
    """An answer that is an error: status, and type, message and code as the API words them; `retry_after` in seconds."""

    def __init__(
        self,
        status: int,
        message: str | None = None,
        *,
        kind: str | None = None,
        retry_after: float | None = None,
        error_code: str | None = None,
    ) -> None:
        usual_kind, usual_message = ERRORS[str(status)]
        super().__init__(message or usual_message)
        self.status = status
        self.kind = kind or usual_kind
        self.retry_after = retry_after
        self.error_code = error_code

    @classmethod
    def of(cls, fault: Fault) -> ApiError:
        """The error that a fault is; one that is no error of the API's becomes the 500 of a server that broke."""
        status = fault.kind if fault.kind in ERRORS else "500"
        return cls(int(status), fault.message, kind=fault.type, retry_after=fault.retry_after, error_code=fault.error_code)

    def body(self, request_id: str | None) -> dict[str, Any]:
        """The body of the answer."""
        error: dict[str, Any] = {"type": self.kind, "message": str(self)}
        if self.error_code:
            error["details"] = {"error_code": self.error_code}
        return {"type": "error", "error": error, "request_id": request_id}


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the input; `lifetime` (seconds) is set where the cache may keep everything up to its end."""

    text: str
    lifetime: int = 0


@dataclass(frozen=True, slots=True)
class ParsedRequest:
    """A checked request. `prompt` is system and messages as one text, `key` a hash of it; `pieces` are in the cache's order."""

    model: Model
    prompt: str
    key: int
    pieces: tuple[Piece, ...]
    max_tokens: int
    stream: bool
    schema: Mapping[str, Any] | None
    thinking: SimulatedThinking = SimulatedThinking()

    @property
    def thinking_tokens(self) -> int:
        """The tokens that are thought before the answer, within `max_tokens`."""
        return self.thinking.tokens(self.key, self.max_tokens)

    @property
    def input_tokens(self) -> int:
        """The tokens of everything that was sent."""
        return self.model.tokens(sum(len(piece.text) for piece in self.pieces))


def read_request(raw: bytes, version: str | None, *, counting: bool = False) -> ParsedRequest:
    """The request in a body; `counting` is for token counts, which know no `max_tokens`. Raises ApiError as the API would."""
    version, body = known_version(version), read_object(raw)
    model = _model(body)
    _check_sampling(body, model, version)
    thinking = _thinking(body, model, counting=counting)
    for name in body:
        if name not in FIELDS:
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
    max_tokens = 0 if counting else _max_tokens(body, model)
    wanted = _output_schema(body, model)
    said = (*_blocks(body.get("system", ""), "system"), *_messages(body, model))
    extras = [*_list(body, "tools"), *([wanted] if wanted else [])]
    pieces = (*(Piece(orjson.dumps(extra).decode()) for extra in extras), *said)
    if body.get("cache_control") and pieces:
        pieces = (*pieces[:-1], Piece(pieces[-1].text, _lifetime(body["cache_control"])))
    if (marks := sum(1 for piece in pieces if piece.lifetime)) > 4:
        raise ApiError(400, f"A maximum of 4 blocks with cache_control may be provided. Found {marks}.")
    prompt = "\n".join([piece.text for piece in said])
    asked = ParsedRequest(
        model,
        prompt,
        int.from_bytes(blake2b(prompt.encode(errors="surrogatepass"), digest_size=8).digest()),
        pieces,
        max_tokens,
        body.get("stream") is True,
        wanted,
        thinking,
    )
    if asked.input_tokens > model.context:
        raise ApiError(400, f"prompt is too long: {asked.input_tokens} tokens > {model.context} maximum")
    return asked


def known_version(version: str | None) -> str:
    """The version itself. Raises the 400 where the API knows none of this name."""
    if version not in VERSIONS:
        raise ApiError(400, f"anthropic-version: '{version}' is unknown" if version else "anthropic-version: header is required")
    return version


def read_object(raw: bytes) -> dict[str, Any]:
    """The JSON object in a body. Raises the 400 where there is none."""
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, "Input should be a valid dictionary")
    return body


def _model(body: Mapping[str, Any]) -> Model:
    name = body.get("model")
    if not isinstance(name, str):
        raise ApiError(400, "model: Field required" if name is None else "model: Input should be a valid string")
    if name not in MODELS or MODELS[name].lifecycle == "retired":
        raise ApiError(404, f"model: {name}")
    return MODELS[name]


def _check_sampling(body: Mapping[str, Any], model: Model, version: str) -> None:
    for name, default in SAMPLING.items():
        if name not in body:
            continue
        if version == CURRENT_VERSION:
            raise ApiError(400, f"{name}: Extra inputs are not permitted")
        if not model.sampling and body[name] != default:
            raise ApiError(400, f"{name}: may only be left at its default for {model.id}")
        if name == "temperature" and not (isinstance(body[name], int | float) and 0 <= body[name] <= 1):
            raise ApiError(400, "temperature: Input should be between 0 and 1")


def _max_tokens(body: Mapping[str, Any], model: Model) -> int:
    wanted = body.get("max_tokens")
    if type(wanted) is not int:
        raise ApiError(400, "max_tokens: Field required" if wanted is None else "max_tokens: Input should be a valid integer")
    if wanted < 0:
        raise ApiError(400, "max_tokens: Input should be greater than or equal to 0")
    if wanted > model.max_tokens:
        raise ApiError(
            400,
            f"max_tokens: {wanted} > {model.max_tokens}, which is the maximum allowed number of output tokens for {model.id}",
        )
    return wanted


def _thinking(body: Mapping[str, Any], model: Model, *, counting: bool) -> SimulatedThinking:
    max_tokens = body.get("max_tokens")
    most = max_tokens if type(max_tokens) is int and not counting else None
    effort = _object(body, "output_config").get("effort")
    try:
        thinking = read_thinking(_object(body, "thinking"), effort, model, most)
    except Refused as error:
        raise ApiError(400, str(error)) from None
    if thinking.effort is not None and body.get("temperature", 1) != 1:
        raise ApiError(400, "`temperature` may only be set to 1 when thinking is enabled.")
    return thinking


def _output_schema(body: Mapping[str, Any], model: Model) -> Mapping[str, Any] | None:
    wanted = _object(_object(body, "output_config"), "format")
    if not wanted:
        return None
    if wanted.get("type") != "json_schema" or not isinstance(wanted.get("schema"), dict):
        raise ApiError(400, "output_config.format: Input should be of type 'json_schema' with a 'schema'")
    if not model.structured:
        raise ApiError(400, f"output_config.format: structured outputs are not supported by {model.id}")
    if why := schema.objection(orjson.dumps(wanted["schema"])):
        raise ApiError(400, f"output_config.format.schema: {why}")
    found: Mapping[str, Any] = wanted["schema"]
    return found


def _messages(body: Mapping[str, Any], model: Model) -> Iterator[Piece]:
    messages = _list(body, "messages")
    if not messages:
        raise ApiError(400, "messages: at least one message is required")
    for at, message in enumerate(messages):
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ("user", "assistant", "system"):
            raise ApiError(400, f"messages.{at}.role: Input should be 'user', 'assistant' or 'system'")
        if not message.get("content"):
            raise ApiError(400, f"messages.{at}: {role} messages must have non-empty content")
        yield from _blocks(message["content"], f"messages.{at}.content")
    if messages[0]["role"] == "assistant":
        raise ApiError(400, 'messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant" and not model.prefill:
        raise ApiError(
            400, "This model does not support assistant message prefill. The conversation must end with a user message."
        )


def _blocks(content: Any, where: str) -> Iterator[Piece]:
    if isinstance(content, str):
        if content:
            yield Piece(content)
        return
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise ApiError(400, f"{where}: Input should be a valid string or a list of blocks")
    for block in content:
        text = block.get("text") if block.get("type") == "text" else orjson.dumps(block).decode()
        if not isinstance(text, str) or not text.strip():
            raise ApiError(400, f"{where}: text content blocks must be non-empty")
        yield Piece(text, _lifetime(block.get("cache_control")))


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    if value is not None and not isinstance(value, dict):
        raise ApiError(400, f"{name}: Input should be a valid dictionary")
    return value or {}


def _list(parent: Mapping[str, Any], name: str) -> list[Any]:
    value = parent.get(name)
    if value is not None and not isinstance(value, list):
        raise ApiError(400, f"{name}: Input should be a valid list")
    return value or []


def _lifetime(control: Any) -> int:
    if control is None:
        return 0
    if not isinstance(control, dict) or control.get("type") != "ephemeral" or control.get("ttl", "5m") not in LIFETIMES:
        raise ApiError(400, "cache_control: Input should be of type 'ephemeral' with a ttl of '5m' or '1h'")
    return LIFETIMES[control.get("ttl", "5m")]
