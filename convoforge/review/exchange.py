"""Files of reviews: a queue written for another tool, and what was decided there read back, all of it or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Connection

from convoforge.errors import ConfigError, format_count
from convoforge.ledger import Ledger
from convoforge.review import ReviewFormat
from convoforge.review.choosing import Reviewable
from convoforge.review.deciding import NewReview, import_review
from convoforge.review.formats import read_record, write_record
from convoforge.review.items import read_items

_AT_ONCE = 500
_SHOWN = 10
"""Maximum number of faults in a message."""


@dataclass(frozen=True, slots=True)
class Imported:
    """Counts of an import: decisions that are new, those that were there already, and records on which nobody has decided."""

    new: int
    known: int
    undecided: int


def export_queue(
    ledger: Ledger, reviewables: Sequence[Reviewable], dataset: str, kind: ReviewFormat, path: Path
) -> Iterator[int]:
    """Write conversations with their reviews, one on a line; as one JSON array where the name ends in .json, which is how Label Studio and
    Argilla read files. Yields how many are written. Raises `ConfigError` where the file is there, or cannot be written."""
    is_array, written = path.suffix == ".json", 0
    try:
        with path.open("xb") as file:
            file.write(b"[\n" if is_array else b"")
            for start in range(0, len(reviewables), _AT_ONCE):
                for item in read_items(ledger, reviewables[start : start + _AT_ONCE]):
                    file.write(b",\n" if is_array and written else b"")
                    file.write(orjson.dumps(write_record(item, dataset, kind)) + (b"" if is_array else b"\n"))
                    written += 1
                yield written
            file.write(b"\n]\n" if is_array else b"")
    except FileExistsError:
        raise ConfigError(f"{path} is there already: give another name, or remove it") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def import_reviews(ledger: Ledger, dataset_id: int, path: Path, kind: ReviewFormat, *, reviewer: str, now: datetime) -> Imported:
    """Write the decisions in a file: a record on each line, or a JSON array of records. What is there already is left out, so that the same
    file can be read again. `reviewer` is who decided where the file does not say.

    Raises `ConfigError` with the line of each fault; then nothing is written.
    """
    records, place = _read_records(path)
    return ledger.write(_import, dataset_id, records, place, kind, reviewer, now)


def _import(
    connection: Connection,
    dataset_id: int,
    records: Sequence[tuple[int, Any]],
    place: str,
    kind: ReviewFormat,
    reviewer: str,
    now: datetime,
) -> Imported:
    faults: list[str] = []
    found: dict[tuple[str, str, datetime | None], tuple[int, NewReview]] = {}
    undecided = 0
    for number, record in records:
        try:
            reviews = read_record(record, kind, reviewer)
        except ConfigError as error:
            faults.append(f"{place} {number}: {error}")
            continue
        undecided += not reviews
        # without times, the last decision of a reviewer is the one that is meant
        found |= {(one.conversation_id, one.reviewer, one.at): (number, one) for one in reviews}
    new = 0
    for number, one in sorted(found.values(), key=lambda each: each[1].at or now):
        try:
            new += import_review(connection, one, dataset_id, now) is not None
        except ConfigError as error:
            faults.append(f"{place} {number}: {error}")
    _refuse(faults)
    return Imported(new, len(found) - new, undecided)


def _read_records(path: Path) -> tuple[list[tuple[int, Any]], str]:
    """The records of a file by their number, and what is numbered. Raises `ConfigError`."""
    try:
        content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if content.lstrip().startswith(b"["):
        try:
            return [*enumerate(orjson.loads(content), 1)], "record"
        except orjson.JSONDecodeError as error:
            raise ConfigError(f"{path} is no JSON: {error.msg} in line {error.lineno}") from None
    records, faults = [], []
    for number, line in enumerate(content.split(b"\n"), 1):
        if line.strip():
            try:
                records.append((number, orjson.loads(line)))
            except orjson.JSONDecodeError as error:
                faults.append(f"line {number}: no JSON: {error.msg}")
    _refuse(faults)
    return records, "line"


def _refuse(faults: Sequence[str]) -> None:
    """Raises `ConfigError` where there are faults."""
    if faults:
        more = f"; and {format_count(len(faults) - _SHOWN, 'more fault')}" if len(faults) > _SHOWN else ""
        raise ConfigError(f"nothing was imported: {'; '.join(faults[:_SHOWN])}{more}")
