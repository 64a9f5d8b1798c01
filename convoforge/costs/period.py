"""What a summary of costs covers, and what it is grouped by."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args

from sqlalchemy import ColumnElement, and_, func, literal_column

from convoforge.ledger.tables import datasets, generation_logs
from convoforge.models import Provider

GroupBy = Literal["run", "dataset", "model", "template", "purpose", "day"]
GROUPS: tuple[GroupBy, ...] = get_args(GroupBy)

_LOGS = generation_logs.c


@dataclass(frozen=True, slots=True)
class Period:
    """The attempts of one provider begun from `since` (inclusive) to `until` (exclusive); None is without an end."""

    provider: Provider
    since: datetime | None = None
    until: datetime | None = None

    def match_attempts(self) -> ColumnElement[bool]:
        conditions = [_LOGS.provider == self.provider]
        conditions += [_LOGS.started_at >= self.since] if self.since is not None else []
        conditions += [_LOGS.started_at < self.until] if self.until is not None else []
        return and_(*conditions)


def select_group(by: GroupBy | None, dialect: str) -> ColumnElement[Any]:
    """The name of an attempt's group; without `by` all are one group, called by the empty text."""
    # literal: PostgreSQL does not see that two parameters are alike
    match by:
        case None:
            return literal_column("CAST('' AS VARCHAR(1))")
        case "run":
            return _LOGS.run_id
        case "dataset":
            return datasets.c.name
        case "day" if dialect == "sqlite":
            return func.substr(_LOGS.started_at, literal_column("1"), literal_column("10"))
        case "day":
            return func.to_char(func.timezone(literal_column("'UTC'"), _LOGS.started_at), literal_column("'YYYY-MM-DD'"))
        case _:
            return _LOGS[by]
