"""The rows of a published version as a trainer meets them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from convoforge.publish.reading import PublishedVersion
from convoforge.training.chat_template import Messages

_COLUMNS = ("conversation_id", "split_group", "messages")


@dataclass(frozen=True, slots=True)
class TrainingRow:
    """A conversation in its split. `group` is what must not be on both sides of a split."""

    split: str
    conversation_id: str
    group: str
    messages: Messages


def read_rows(published: PublishedVersion) -> Iterator[Sequence[TrainingRow]]:
    """All rows, split by split, a batch at a time. Raises ConvoforgeError for a damaged file."""
    for split in published.manifest.splits:
        for batch in published.read_batches(split, _COLUMNS):
            columns = (batch.column(name).to_pylist() for name in _COLUMNS)
            yield [TrainingRow(split, *values) for values in zip(*columns, strict=True)]
