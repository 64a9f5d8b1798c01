"""What is wrong with the words of a command, for people: which one, and what would do."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, get_args

from cyclopts import CoercionError, CycloptsError, MissingArgumentError, UnknownOptionError, UnusedCliTokensError, ValidationError

from convoforge.errors import shown
from convoforge.planning.value_faults import describe_value_fault

_EXPECTED = {int: "a whole number", float: "a number", Decimal: "a number", bool: "true or false"}
_RULES = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}


def explain_usage(error: CycloptsError) -> str:
    """The error on one line: "--limit: expected a whole number (found 'ten')"."""
    if faults := getattr(error.__cause__, "errors", None):  # of pydantic, where a model declares the options
        return name_fault(faults()[0])
    manual = f"`{' '.join(('convoforge', *(error.command_chain or ())))} --help` lists what it takes"
    name = error.argument.name if error.argument else ""
    match error:
        case UnusedCliTokensError(unused_tokens=[extra, *_]):
            return f"unexpected argument {shown(extra)}: {manual}"
        case UnknownOptionError() if "Did you mean" not in str(error):
            return f"{' '.join(str(error).split()).removesuffix('.')}: {manual}"
        case MissingArgumentError(keyword=None):
            return f"{name} is missing: {manual}"
        case MissingArgumentError():
            return f"{name} needs a value: {manual}"
        case CoercionError(token=token, target_type=kind) if token:
            expected = next((_EXPECTED[one] for one in (kind, *get_args(kind)) if one in _EXPECTED), None)
            if expected:
                return f"{name}: expected {expected} (found {shown(token.value)})"
        case ValidationError(argument=argument) if argument and argument.tokens:
            rule = error.exception_message.removesuffix(".")
            for sign, words in _RULES.items():
                rule = rule.replace(sign, words)
            return f"{name}: {rule[:1].lower()}{rule[1:]} (found {shown(argument.tokens[0].value)})"
    return " ".join(str(error).split())


def name_fault(fault: Mapping[str, Any]) -> str:
    """What is wrong with an option, from an error of pydantic."""
    return f"--{'.'.join(map(str, fault['loc'])).replace('_', '-')}: {describe_value_fault(fault)}"
