"""A period as a person writes it: two dates or moments, the last day counted to its end."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from convoforge.errors import ConfigError, shown

_FIRST, _LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9000, 1, 1, tzinfo=UTC)


def read_period(since: str | None, until: str | None, names: tuple[str, str]) -> tuple[datetime | None, datetime | None]:
    """The moments from which and to which, in UTC; None where none was given. Raises `ConfigError`, which calls them by `names`."""
    start, end = _moment(since, names[0]), _moment(until, names[1], last=True)
    if start and end and start >= end:
        raise ConfigError(f"{names[0]} {since} is not before {names[1]} {until}")
    start, end = (moment and min(max(moment, _FIRST), _LAST) for moment in (start, end))
    return start, end


def _moment(text: str | None, option: str, *, last: bool = False) -> datetime | None:
    """The moment that a person means. A last day is counted to its end."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {shown(text)} is no date: write YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        return moment + timedelta(days=1) if last and _is_day(text) else moment
    except OverflowError:  # beyond what a calendar holds
        return datetime.max.replace(tzinfo=UTC) if moment.year > _FIRST.year else datetime.min.replace(tzinfo=UTC)


def _is_day(text: str) -> bool:
    try:
        return bool(date.fromisoformat(text))
    except ValueError:
        return False
