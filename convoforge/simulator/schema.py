"""JSON schemas for structured output: what the API refuses in them, and a value that fits one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import orjson

REFUSED = {
    "integer": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength"),
    "array": ("maxItems", "uniqueItems", "contains"),
    "object": ("minProperties", "maxProperties", "patternProperties"),
}
ROLES = ("user", "assistant")
ROLE_NAMES = ("role", "from", "speaker")


@lru_cache(maxsize=256)
def objection(schema: bytes) -> str | None:
    """What the API has against this schema (as JSON), in its words; None where nothing."""
    root = orjson.loads(schema)
    try:
        return next(_objections(root, root, ()), None)
    except (AttributeError, TypeError):
        return "Invalid schema"


def _objections(node: Any, root: Mapping[str, Any], above: tuple[str, ...]) -> Iterator[str]:
    if not isinstance(node, dict):
        return
    if "$ref" in node:
        if node["$ref"] in above:
            yield "Recursive schemas are not supported"
        else:
            yield from _objections(_resolve(node, root), root, (*above, node["$ref"]))
        return
    kind = node.get("type")
    yield from (f"For '{kind}' type, property '{name}' is not supported" for name in REFUSED.get(str(kind), ()) if name in node)
    if kind == "array" and node.get("minItems", 0) > 1:
        yield "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if kind == "object" and node.get("additionalProperties") is not False:
        yield "For 'object' type, 'additionalProperties' must be explicitly set to false"
    for part in (*node.get("properties", {}).values(), node.get("items"), *node.get("anyOf", ()), *node.get("allOf", ())):
        yield from _objections(part, root, above)


def _resolve(node: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    for part in str(node["$ref"]).removeprefix("#").strip("/").split("/"):
        root = root.get(part, {}) if part else root
    return root


def fill(schema: Mapping[str, Any], turns: Sequence[Mapping[str, str]]) -> Any:
    """A value that fits the schema, with the turns in its first list of objects and a little sense elsewhere."""
    return _value(schema, schema, turns)


def _value(node: Mapping[str, Any], root: Mapping[str, Any], turns: Sequence[Mapping[str, str]]) -> Any:
    while "$ref" in node:
        node = _resolve(node, root)
    for name in ("anyOf", "allOf"):
        if name in node:
            return _value(node[name][0], root, turns)
    if "const" in node:
        return node["const"]
    if "enum" in node:
        return node["enum"][0]
    match node.get("type"):
        case "object":
            return {name: _value(part, root, turns) for name, part in node.get("properties", {}).items()}
        case "array":
            items = node.get("items", {})
            while "$ref" in items:
                items = _resolve(items, root)
            if items.get("type") == "object":
                return _turns(items, root, turns)
            return [_value(items, root, turns)]
        case "integer" | "number":
            return len(turns)
        case "boolean":
            return True
        case "null":
            return None
    return turns[0]["content"][:80]


def _turns(items: Mapping[str, Any], root: Mapping[str, Any], turns: Sequence[Mapping[str, str]]) -> list[dict[str, Any]]:
    """The turns under the names that the schema has for who speaks and what is said."""
    properties = items.get("properties", {})
    role = next((name for name, part in properties.items() if name in ROLE_NAMES or "enum" in part), None)
    content = next((name for name, part in properties.items() if name != role and part.get("type") == "string"), None)
    speakers = properties[role].get("enum", ROLES) if role else ROLES
    said_by = dict(zip(ROLES, ROLES if set(ROLES) <= set(speakers) else speakers, strict=False))
    rest = {name: _value(part, root, turns) for name, part in properties.items() if name not in (role, content)}
    return [
        {
            name: said_by[turn["role"]] if name == role else turn["content"] if name == content else rest[name]
            for name in properties
        }
        for turn in turns
    ]
