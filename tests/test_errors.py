"""Errors travel: between processes, and into Prefect's results."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest

from convoforge import errors
from convoforge.errors import ConvoforgeError, format_count


def classes(root: type[ConvoforgeError] = ConvoforgeError) -> Iterator[type[ConvoforgeError]]:
    yield root
    for below in root.__subclasses__():
        yield from classes(below)


@pytest.mark.parametrize(("number", "words"), [(0, "0 requests"), (1, "1 request"), (6000, "6,000 requests")])
def test_things_are_counted_as_people_write_it(number: int, words: str) -> None:
    assert format_count(number, "request") == words
    assert format_count(number, "cell is", "cells are").endswith("cell is" if number == 1 else "cells are")


@pytest.mark.parametrize("cls", [cls for cls in classes() if cls.__module__ == errors.__name__])
def test_an_error_comes_through_pickle_as_it_was(cls: type[ConvoforgeError]) -> None:
    error = cls("what happened")
    error.__dict__.update(dict.fromkeys(error.__dict__, 7))
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.__dict__) == (cls, "what happened", error.__dict__)
