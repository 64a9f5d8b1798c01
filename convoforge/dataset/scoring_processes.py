"""Scoring in two processes, where there is so much of it that starting them pays: filters take a millisecond a conversation."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.scoring import Rubric, content_hash

if TYPE_CHECKING:
    from concurrent.futures import Future, ProcessPoolExecutor

    from convoforge.ledger.answers import Score, Unscored  # a process that scores needs no ledger

MANY = 10_000
"""Number of conversations from which on two processes score: they take two seconds to start."""

_PROCESSES = 2
_READY = 3
"""Number of chunks that wait for a process, at most: more of them would only lie in memory."""

_rubrics: list[Rubric] = []
"""The rubric of a process of its own."""


@contextmanager
def open_scoring(
    spec: DatasetSpec, library: Library, count: int
) -> Iterator[Callable[[Iterable[Sequence[Unscored]]], Iterator[Sequence[Score]]]]:
    """A function that scores chunks of conversations, `count` in all, and yields the results in their order."""
    if count < MANY or (os.cpu_count() or 1) < _PROCESSES:
        rubric = Rubric.of(spec, library)
        yield lambda chunks: (_score(rubric, chunk) for chunk in chunks)
        return
    from concurrent.futures import ProcessPoolExecutor  # a plan need not wait for them
    from multiprocessing import get_context

    with ProcessPoolExecutor(_PROCESSES, get_context("spawn"), _start, (spec, library.folder)) as pool:
        yield lambda chunks: _score_apart(pool, chunks)


def _score_apart(pool: ProcessPoolExecutor, chunks: Iterable[Sequence[Unscored]]) -> Iterator[Sequence[Score]]:
    waiting: deque[Future[Sequence[Score]]] = deque()
    for chunk in chunks:
        waiting.append(pool.submit(_score_here, chunk))
        if len(waiting) > _READY:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _start(spec: DatasetSpec, config_dir: Path) -> None:
    _rubrics.append(Rubric.of(spec, Library.at(config_dir)))


def _score_here(chunk: Sequence[Unscored]) -> Sequence[Score]:
    return _score(_rubrics[-1], chunk)


def _score(rubric: Rubric, chunk: Sequence[Unscored]) -> Sequence[Score]:
    return [
        (request, attempt, rubric.score(conversation, context), content_hash(conversation))
        for request, attempt, conversation, context in chunk
    ]
