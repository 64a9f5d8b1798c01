"""The parts that a file's sections are made of: what names, lists, amounts and switches may be, and the section itself."""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, Strict, ValidationInfo, model_validator

from convoforge.errors import shown
from convoforge.models import BareWord, Frozen, Label


def check_distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values as they are. Raises `ValueError` where there is none, or two are the same to the eye of a person."""
    if not values:
        raise ValueError("may not be empty")
    seen: dict[str, str] = {}
    for value in values:
        look = " ".join(unicodedata.normalize("NFKC", value).casefold().split())
        if look in seen:
            twin, value = shown(seen[look]), shown(value)
            raise ValueError(f"{value} stands twice" if value == twin else f"{twin} and {value} are the same: take one out")
        seen[look] = value
    return values


def _dollars(value: Any, info: ValidationInfo) -> Any:
    # YAML reads 0.1 as a float; its shortest text is what the person wrote. Text is for JSON alone: what `text()` has written.
    if isinstance(value, float | int) and not isinstance(value, bool):
        return Decimal(f"{value:.15g}" if isinstance(value, float) else value)
    if isinstance(value, Decimal) or info.mode == "json":
        return value
    raise ValueError(f"{shown(value)} is no amount in US dollars, such as 5 or 0.25")


def matching(pattern: str, words: str) -> AfterValidator:
    """Texts of a pattern; `words` say in a message what is allowed."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(f"{shown(value)} cannot be a name here: {words}")
        return value

    return AfterValidator(check)


Slug = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", "up to 64 letters, digits, - and _")]
"""A name that may become a folder, a file or a limit."""

AccountName = Annotated[str, matching(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}", "up to 40 letters, digits, - and _")]
"""Who pays: what datasets name that share the budget of a day."""

SplitName = Annotated[str, matching(r"[A-Za-z][A-Za-z0-9_]{0,31}", "up to 32 letters, digits and _, a letter first")]
"""What `datasets` takes as the name of a split."""

Values = Annotated[tuple[Label, ...], Strict(False), AfterValidator(check_distinct)]
Dollars = Annotated[Decimal, Strict(False), BeforeValidator(_dollars), Field(gt=0, le=1_000_000, decimal_places=6)]
Share = Annotated[float, Field(gt=0, lt=1)]


class SpecSection(Frozen):
    """A part of a file that a person writes: `true` is no number there, and neither is "5"."""

    model_config = ConfigDict(strict=True)

    @model_validator(mode="before")
    @classmethod
    def _read_switches(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        switches = {key for key, field in cls.model_fields.items() if field.annotation is bool}
        return {key: value.truth if isinstance(value, BareWord) and key in switches else value for key, value in raw.items()}


def read_off(value: Any) -> Any:
    """`off` for what people mean by it: YAML 1.1 reads a bare `off` as false, and `no` is meant likewise."""
    return "off" if value is False or (isinstance(value, str) and value.lower() in ("off", "no", "false")) else value
