"""Limits on a body, checked before validation: depth, number of fields, valid Unicode, and at most ten faults in the response.

Validation reports every fault, and a megabyte can hold a hundred thousand of them. So a body is measured first, and its requests
are validated one by one until the response is full.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import orjson
from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.requests import ClientDisconnect

from convoforge.api.bodies import BatchBody, GenerateBody
from convoforge.api.errors import CLIENT_LEFT, MAX_FAULTS
from convoforge.generation.requests import MAX_IN_A_BATCH

MAX_DEPTH = 8
"""Maximum nesting of a body; a valid one has 4: body, requests, request, parameters."""

MAX_FIELDS = 32
"""Maximum number of fields of an object; a request has 8."""

MAX_PARAMETERS = 100
"""Maximum number of parameters of a request."""

MAX_QUOTES = 50_000
"""Maximum number of quotes in a body, before it is parsed: a hundred requests with a hundred parameters each have 43,200."""

MAX_BRACKETS = 50_000
"""Maximum number of opening brackets in a body, before it is parsed; in a valid body most of them are in texts."""

Fault = dict[str, Any]
"""A fault in pydantic's shape: `type`, `loc`, `msg`."""


class BoundedRoute(APIRoute):
    """A route that checks the limits of its JSON body before validation. Raises `RequestValidationError` with a few faults."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle, body = super().get_route_handler(), body_of(self)

        async def bounded(request: Request) -> Response:
            if request.method == "POST" and "json" in request.headers.get("content-type", "").lower():
                try:
                    content = await request.body()
                except ClientDisconnect:
                    raise HTTPException(CLIENT_LEFT) from None
                if content and body and (faults := find_faults(content, body)):
                    raise RequestValidationError(faults)
            return await handle(request)

        return bounded


def body_of(route: object) -> type[BaseModel] | None:
    """The model of a route's JSON body; None if it takes none."""
    return _model_of(getattr(route, "body_field", None))


def query_of(route: object) -> type[BaseModel] | None:
    """The model of a route's query; None if it is not one model."""
    fields = getattr(getattr(route, "dependant", None), "query_params", ())
    return next(filter(None, map(_model_of, fields)), None)


def _model_of(field: Any) -> type[BaseModel] | None:
    model = field and field.field_info.annotation
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None


def find_faults(content: bytes, body: type[BaseModel]) -> list[Fault]:
    """Faults for which `content` is refused before full validation; empty if that is cheap enough to report the rest."""
    if content.count(b'"') > MAX_QUOTES or content.count(b"{") + content.count(b"[") > MAX_BRACKETS:
        return [_fault((), "the body holds far more names than a request can have")]
    try:
        value = orjson.loads(content)  # accepts 1,024 levels, and no lone surrogates
    except orjson.JSONDecodeError as error:
        return [
            {"type": "json_invalid", "loc": ("body", error.pos), "msg": "", "ctx": {"error": error.msg.partition(": line")[0]}}
        ]
    if _is_deep(value):
        return [_fault((), f"the body is nested deeper than {MAX_DEPTH} levels")]
    faults: list[Fault] = []
    for fault in _faults(value, body, ()):
        faults.append(fault)
        if len(faults) > MAX_FAULTS:
            return faults
    return faults if any(fault["type"] == "bound" for fault in faults) else []


def _faults(value: object, body: type[BaseModel], path: tuple[str | int, ...]) -> Iterator[Fault]:
    if not isinstance(value, dict):
        return
    if len(value) > MAX_FIELDS:
        yield _fault(path, f"{len(value)} fields are too many: {MAX_FIELDS} are allowed")
        return
    if body is BatchBody:
        requests = value.get("requests")
        if isinstance(requests, list):
            if len(requests) > MAX_IN_A_BATCH:
                yield _fault((*path, "requests"), f"{len(requests)} requests are too many: at most {MAX_IN_A_BATCH}")
                return
            for index, one in enumerate(requests):
                yield from _faults(one, GenerateBody, (*path, "requests", index))
        return
    parameters = value.get("parameters")
    if isinstance(parameters, dict) and len(parameters) > MAX_PARAMETERS:
        message = f"{len(parameters)} parameters are too many: {MAX_PARAMETERS} are allowed"
        yield _fault((*path, "parameters"), message)
        return
    try:
        body.model_validate(value)
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_input=False):
            yield {**fault, "loc": ("body", *path, *fault["loc"])}


def _fault(path: tuple[str | int, ...], message: str) -> Fault:
    return {"type": "bound", "loc": ("body", *path), "msg": message}


def _is_deep(value: object, levels: int = MAX_DEPTH - 1) -> bool:
    """Whether objects and lists are nested deeper than `MAX_DEPTH`. Takes milliseconds, as the number of brackets is limited."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deep(one, levels - 1) for one in inside if isinstance(one, dict | list))
