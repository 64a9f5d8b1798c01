"""Whatever is sent, the answer is small, made without work in proportion to it, and can be encoded; and nothing is paid before."""

from __future__ import annotations

import itertools
import json
import string
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ValidationError

from convoforge.api import bounds, errors
from convoforge.api.bodies import BatchBody, GenerateBody
from convoforge.api.build_bodies import BuildRequest
from convoforge.api.errors import refuse
from convoforge.api.rendering import ApiResponse
from convoforge.simulator.client import SimulatorControl

GENERATE, BATCH = "/api/conversations/generate", "/api/conversations/generate-batch"
GOOD = {"templateId": "advice", "persona": "p", "emotion": "e", "topic": "t"}
Serve = Callable[..., AbstractContextManager[httpx.Client]]


def names(count: int) -> list[str]:
    return ["".join(letters) for letters in itertools.islice(itertools.product(string.ascii_letters, repeat=4), count)]


def many_fields(count: int, value: Any = 1) -> dict[str, Any]:
    return dict.fromkeys(names(count), value)


BAD = {
    "unknown fields": (GENERATE, json.dumps(many_fields(90_000))),
    "a few unknown fields": (GENERATE, json.dumps(many_fields(30))),
    "unknown fields in each of 100 requests": (BATCH, json.dumps({"requests": [many_fields(30)] * 100})),
    "names without end": (GENERATE, json.dumps({**GOOD, **{f"{'😀' * 2_000}{n}": 1 for n in range(20)}}, ensure_ascii=False)),
    "control characters in names": (GENERATE, json.dumps({**GOOD, **{"\x1b[2J" * 500 + str(n): 1 for n in range(20)}})),
    "a parameter's name without end": (GENERATE, json.dumps({**GOOD, "parameters": {"x" * 900_000: 1}})),
    "parameters": (GENERATE, json.dumps({**GOOD, "parameters": many_fields(101)})),
    "bad parameters": (GENERATE, json.dumps({**GOOD, "parameters": many_fields(100, None)})),
    "bad parameters in each of 100": (BATCH, json.dumps({"requests": [{**GOOD, "parameters": many_fields(100, [])}] * 100})),
    "requests": (BATCH, json.dumps({"requests": [GOOD] * 101})),
    "hundreds of thousands of requests": (BATCH, '{"requests": [' + ",".join(["1"] * 450_000) + "]}"),
    "empty objects": (BATCH, '{"requests": [' + ",".join(["{}"] * 300_000) + "]}"),
    "levels": (GENERATE, json.dumps({**GOOD, "parameters": {"a": [[[[[[[[1]]]]]]]]}})),
    "thousands of levels": (GENERATE, '{"a":' * 150_000),
    "brackets": (GENERATE, "[" * 900_000),
    "half a character in a name": (GENERATE, '{"\\ud800": 1}'),
    "half a character in a parameter's name": (GENERATE, json.dumps({**GOOD, "parameters": {"x\ud800": 1}})),
    "half a character in a parameter": (GENERATE, json.dumps({**GOOD, "parameters": {"x": "\udfff"}})),
    "half a character as bytes": (GENERATE, json.dumps(GOOD).encode().replace(b'"p"', b'"\xed\xa0\x80"')),
    "a number without end": (GENERATE, '{"maxTokens": ' + "9" * 900_000 + "}"),
    "an unknown template": (GENERATE, json.dumps({**GOOD, "templateId": "\u202e" * 200})),
    "an undeclared parameter": (GENERATE, json.dumps({**GOOD, "parameters": {"complexty": 1}})),
}


@pytest.mark.parametrize(("route", "body"), BAD.values(), ids=BAD)
def test_the_answer_to_bad_input_has_ten_faults_and_ten_kilobytes_at_most(
    client: httpx.Client, simulator: SimulatorControl, route: str, body: str | bytes
) -> None:
    response = client.post(route, content=body, headers={"content-type": "application/json"})
    assert response.status_code == 400, response.text
    assert len(response.content) <= 10_000
    error = response.json()["error"]
    assert error["type"] == "ValidationError"
    assert error["message"].isprintable()
    assert len(error["details"].get("fields", [])) <= 10
    assert simulator.rows() == []


BOUNDS: dict[str, tuple[type[BaseModel], Callable[[int], str], int]] = {
    "levels": (GenerateBody, lambda count: '{"parameters":' * (count - 1) + "[1]" + "}" * (count - 1), 8),
    "fields": (GenerateBody, lambda count: json.dumps(many_fields(count)), 32),
    "fields of a request": (BatchBody, lambda count: json.dumps({"requests": [many_fields(count)]}), 32),
    "parameters": (GenerateBody, lambda count: json.dumps({**GOOD, "parameters": many_fields(count)}), 100),
    "parameters in a batch": (
        BatchBody,
        lambda count: json.dumps({"requests": [GOOD, {**GOOD, "parameters": many_fields(count)}]}),
        100,
    ),
    "requests": (BatchBody, lambda count: json.dumps({"requests": [GOOD] * count}), 100),
    "quotes": (GenerateBody, lambda count: json.dumps({"topic": '"' * (count - 4)}), 50_000),
    "brackets": (GenerateBody, lambda count: json.dumps({"topic": "[" * (count - 1)}), 50_000),
    "braces": (GenerateBody, lambda count: json.dumps({"topic": "{" * (count - 1)}), 50_000),
}
"""What is counted in a body, a body that holds so many of it, and how many it may hold."""


@pytest.mark.parametrize(("model", "make", "most"), BOUNDS.values(), ids=BOUNDS)
def test_a_body_holds_as_many_as_it_may_and_not_one_more(model: type[BaseModel], make: Callable[[int], str], most: int) -> None:
    def are_too_many(count: int) -> bool:
        return any(fault["type"] == "bound" for fault in bounds.find_faults(make(count).encode(), model))

    assert (are_too_many(most), are_too_many(most + 1)) == (False, True)


@pytest.mark.parametrize(("size", "status"), [(1_000_000, 400), (1_000_001, 413)])
def test_a_body_has_a_megabyte_at_most(client: httpx.Client, size: int, status: int) -> None:
    content = b"{" + b" " * (size - 2) + b"}"
    assert client.post(GENERATE, content=content, headers={"content-type": "application/json"}).status_code == status


def test_no_more_is_validated_than_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    validated = []
    validate = GenerateBody.model_validate
    monkeypatch.setattr(GenerateBody, "model_validate", lambda value: validated.append(value) or validate(value))
    body = json.dumps({"requests": [{**GOOD, "wrong": 1}] * 100}).encode()
    assert len(bounds.find_faults(body, BatchBody)) == 11  # one more than is told: so that "and more" is true
    assert len(validated) == 11


def test_a_body_that_holds_too_much_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds.orjson, "loads", lambda _: pytest.fail("it was parsed"))
    for body in (json.dumps(many_fields(90_000)), "[" * 900_000):
        assert len(bounds.find_faults(body.encode(), GenerateBody)) == 1


def test_a_schema_is_computed_once_for_all_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    errors.field_names.cache_clear()
    made = []
    schema = GenerateBody.model_json_schema
    monkeypatch.setattr(GenerateBody, "model_json_schema", lambda: made.append(1) or schema())
    faults = bounds.find_faults(json.dumps({**GOOD, **many_fields(20)}).encode(), GenerateBody)
    for _ in range(3):
        assert refuse(faults, GenerateBody).message.count("unknown field") == 3
    assert made == [1]


def test_an_unknown_field_is_told_the_names_of_its_own_object() -> None:
    def refused(body: type[BaseModel], value: Any) -> str:
        with pytest.raises(ValidationError) as caught:
            body.model_validate(value)
        return refuse([{**fault, "loc": ("body", *fault["loc"])} for fault in caught.value.errors()], body).message

    assert refused(BuildRequest, {"spec": "demo", "options": {"minScor": 5}}).startswith(
        "options.minScor: unknown field; did you mean 'minScore'?"
    )
    assert "requests[1].personas: unknown field; did you mean 'persona'?" in refused(
        BatchBody, {"requests": [GOOD, {**GOOD, "personas": "p"}]}
    )
    assert "options.stop: unknown field. Known: concurrency, stopOnError." in refused(
        BatchBody, {"requests": [GOOD], "options": {"stop": True}}
    )
    assert refused(BuildRequest, {"spec": "demo", "option": {}}).startswith("option: unknown field; did you mean 'options'?")


def test_half_a_character_in_one_request_of_a_batch_costs_nothing(serve: Serve, simulator: SimulatorControl) -> None:
    bad = {**GOOD, "parameters": {"x\ud800": 1}}
    with serve() as client:
        content = json.dumps({"requests": [GOOD, GOOD, bad]})
        response = client.post(BATCH, content=content, headers={"content-type": "application/json"})
        assert response.status_code == 400
    assert simulator.rows() == []


def test_an_answer_can_be_encoded_whatever_is_in_it() -> None:
    assert json.loads(ApiResponse({"message": "half \ud800 a character"}).body) == {"message": "half ? a character"}


def test_few_faults_are_told_with_those_of_the_options(client: httpx.Client) -> None:
    response = client.post(BATCH, json={"requests": [{**GOOD, "personna": "x"}, GOOD], "options": {"concurrency": 0}})
    fields = {one["field"] for one in response.json()["error"]["details"]["fields"]}
    assert fields == {"requests[0].personna", "options.concurrency"}


def test_texts_may_hold_what_json_is_made_of(serve: Serve) -> None:
    with serve() as client:
        response = client.post(GENERATE, json={**GOOD, "topic": '[{"' * 60 + "\\", "persona": "Zoë 😀"})
    assert response.status_code == 201
    assert response.json()["data"]["topic"] == '[{"' * 60 + "\\"
