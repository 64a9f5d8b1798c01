"""Readable messages for values that a pydantic model refused, in a spec, an option or a request's field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convoforge.errors import shown

_NUMBER = "expected a number"
_WHOLE = "expected a whole number"
_SWITCH = "expected true or false"
_KEYS = "expected keys and values"
_WORDS = {
    "bool_parsing": _SWITCH,
    "bool_type": _SWITCH,
    "date_from_datetime_parsing": "expected a date, as 2026-11-26",
    "date_parsing": "expected a date, as 2026-11-26",
    "decimal_parsing": _NUMBER,
    "decimal_type": _NUMBER,
    "dict_type": _KEYS,
    "finite_number": "must be a finite number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": "expected a smaller number",
    "int_type": _WHOLE,
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "list_type": "expected a list, as in [a, b]",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "model_type": _KEYS,
    "string_too_long": "may have at most {max_length} characters",
    "string_too_short": "may not be empty",
    "string_type": "expected a text",
    "too_long": "may hold at most {max_length}",
    "too_short": "may not be empty",
    "tuple_type": "expected a list, as in [a, b]",
}


def describe_value_fault(fault: Mapping[str, Any]) -> str:
    """The message for one of `ValidationError.errors()`: "must be at most 10 (found 11)". Our own validators' messages are
    kept."""
    words = _WORDS.get(fault["type"]) or str(fault["msg"]).replace("Input should", "must")
    if fault["type"] == "too_short" and fault["ctx"]["min_length"] > 1:
        words = "must hold at least {min_length}"
    if fault["type"] == "value_error":
        return str(fault["ctx"]["error"])
    found = f" (found {shown(fault['input'])})" if "input" in fault and fault["type"] != "missing" else ""
    bounds = {
        name: f"{value:g}" if isinstance(value, float) else value for name, value in fault.get("ctx", {}).items()
    }  # 1, not 1.0
    return words.format(**bounds) + found
