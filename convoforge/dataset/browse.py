"""Finding conversations: the query behind lists, of pages and of the API. Pure: what is asked never becomes SQL.

It runs over a snapshot, which holds what each answer of a dataset counts as and one row of small values for it, so that any filter and
any order take milliseconds, whatever database the ledger is in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal, Self

import polars as pl
from pydantic import BeforeValidator, Field, StringConstraints, ValidationError

from convoforge.dataset.snapshot import Snapshot
from convoforge.models import Frozen
from convoforge.planning.spec import AXES
from convoforge.pricing import pico, usd

ROWS = 50
"""Conversations on a page."""

MAX_TEXT = 200
"""Maximum characters of a text that is searched for; the rest of a longer one is left out."""

MAX_PAGE = 10**6

Order = Literal["newest", "oldest", "lowest score", "highest score", "dearest", "cheapest"]
ORDERS: Mapping[Order, tuple[str, bool]] = {
    "newest": ("generated_at", True),
    "oldest": ("generated_at", False),
    "lowest score": ("score", False),
    "highest score": ("score", True),
    "dearest": ("cost_pico", True),
    "cheapest": ("cost_pico", False),
}
"""Name of an order → column, and whether the highest comes first."""

Asked = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MAX_TEXT)]
Points = Annotated[int, Field(ge=0, le=10)]
Dollars = Annotated[
    Decimal, BeforeValidator(lambda given: given.removeprefix("$") if isinstance(given, str) else given), Field(ge=0, lt=10**6)
]


class Search(Frozen):
    """What is looked for; an empty field asks for nothing. `text` is anywhere in the conversation, whatever the case of its letters, or
    is the conversation's id. `status` is accepted, needs_revision, dropped …; `flag` names a filter that found something, `reviewed` is a
    decision, `any` or `none`, `run` the beginning of a run's id. Costs are US dollars."""

    text: Asked = ""
    persona: Asked = ""
    emotion: Asked = ""
    topic: Asked = ""
    tier: Asked = ""
    template: Asked = ""
    status: Asked = ""
    flag: Asked = ""
    reviewed: Asked = ""
    run: Asked = ""
    min_score: Points | None = None
    max_score: Points | None = None
    min_cost: Dollars | None = None
    max_cost: Dollars | None = None
    order: Order = "newest"
    page: int = Field(default=1, ge=1, le=MAX_PAGE)

    @classmethod
    def read(cls, given: Mapping[str, str]) -> Self:
        """A search as an address has it. A value that cannot be, such as no number or no order, asks for nothing."""
        asked = {name: given[name].strip()[:MAX_TEXT] for name in cls.model_fields if given.get(name, "").strip()}
        try:
            return cls.model_validate(asked)
        except ValidationError as error:
            wrong = {fault["loc"][0] for fault in error.errors()}
            return cls.model_validate({name: value for name, value in asked.items() if name not in wrong})

    def as_query(self, **changes: object) -> dict[str, str]:
        """The fields that ask for something, as an address has them."""
        values = self.model_dump(exclude_defaults=True) | changes
        return {
            name: str(value) for name, value in values.items() if value not in (None, "", type(self).model_fields[name].default)
        }

    @property
    def has_filters(self) -> bool:
        """Whether more than a text is looked for."""
        return not self.model_copy(update={"text": ""}).is_empty

    @property
    def is_empty(self) -> bool:
        """Whether everything is shown."""
        return self.model_copy(update={"order": "newest", "page": 1}) == Search()


@dataclass(frozen=True, slots=True)
class Row:
    """A conversation in a list. `cost_usd` is what its answer has cost; `reviewed` the last decision, or empty."""

    request_id: int
    conversation_id: str
    persona: str
    emotion: str
    topic: str
    tier: str
    template: str
    status: str
    reason: str
    score: int | None
    flags: tuple[str, ...]
    reviewed: str
    run_id: str
    cost_usd: Decimal
    generated_at: datetime


@dataclass(frozen=True, slots=True)
class Found:
    """One page of what was found, and how many there are on all pages."""

    rows: tuple[Row, ...]
    total: int
    page: int
    pages: int


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation stands in a list, from 1, and the ids of the ones before and after it."""

    number: int | None = None
    total: int = 0
    before: str | None = None
    after: str | None = None

    @classmethod
    def among(cls, ids: pl.Series, conversation_id: str) -> Self:
        """The place in a list of ids; of one that is not there, the list begins after it."""
        at = ids.index_of(conversation_id)
        if at is None:
            return cls(total=len(ids), after=ids[0] if len(ids) else None)
        return cls(at + 1, len(ids), ids[at - 1] if at else None, ids[at + 1] if at + 1 < len(ids) else None)


def find(snapshot: Snapshot, search: Search, rows: int = ROWS) -> Found:
    """A page of the conversations that match. A page beyond the last one is the last one."""
    frame = _match(snapshot, search)
    pages = max(1, -(-frame.height // rows))
    page = min(search.page, pages)
    part = _sort(frame, search).slice((page - 1) * rows, rows)
    return Found(tuple(map(_row, part.iter_rows(named=True))), frame.height, page, pages)


def find_place(snapshot: Snapshot, search: Search, conversation_id: str) -> Place:
    """Where a conversation stands among those that match, on whatever page."""
    return Place.among(_sort(_match(snapshot, search), search)["conversation_id"], conversation_id)


def _match(snapshot: Snapshot, search: Search) -> pl.DataFrame:
    frame, conditions = snapshot.frame, []
    for name in (*AXES, "template", "status"):
        if value := getattr(search, name):
            conditions.append(pl.col(name) == value)
    if search.flag:
        conditions.append(pl.col("flags").str.contains(f"|{search.flag}|", literal=True))
    if search.reviewed:
        is_reviewed = pl.col("reviewed") != ""
        chosen = {"any": is_reviewed, "none": ~is_reviewed}
        conditions.append(chosen.get(search.reviewed, pl.col("reviewed") == search.reviewed))
    if search.run:
        conditions.append(pl.col("run_id").str.starts_with(search.run))
    bounds = {"score": (search.min_score, search.max_score), "cost_pico": (_pico(search.min_cost), _pico(search.max_cost))}
    for column, (low, high) in bounds.items():
        if low is not None:
            conditions.append(pl.col(column) >= low)
        if high is not None:
            conditions.append(pl.col(column) <= high)
    if not search.text:
        return frame.filter(*conditions) if conditions else frame
    assert snapshot.texts is not None, "a snapshot with texts is needed to search in them"
    found = frame.with_columns(text=snapshot.texts).filter(*conditions)  # first, so that few texts are read
    held = pl.col("text").str.contains(search.text.lower(), literal=True) | (pl.col("conversation_id") == search.text)
    return found.filter(held).drop("text")


def _sort(frame: pl.DataFrame, search: Search) -> pl.DataFrame:
    column, descending = ORDERS[search.order]
    return frame.sort(column, "request_id", descending=[descending, descending], nulls_last=True)


def _row(values: dict[str, object]) -> Row:
    values |= {"cost_usd": usd(int(str(values["cost_pico"]))), "flags": tuple(filter(None, str(values["flags"]).split("|")))}
    return Row(**{one.name: values[one.name] for one in fields(Row)})  # type: ignore[arg-type]


def _pico(amount: Decimal | None) -> int | None:
    return None if amount is None else pico(round(amount, 12))
