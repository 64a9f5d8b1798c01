"""The schema, and the rules a row must keep before it is written."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import quality

from convoforge.errors import GenerationValidationError
from convoforge.models import Conversation, Status, Turn
from convoforge.publish.lengths import count_tokens
from convoforge.publish.rows import REVISE_SCHEMA, SCHEMA, PublishedRow, check, to_batch

COLUMNS = [
    *("conversation_id", "messages", "template", "template_version", "persona", "emotion", "topic", "tier"),
    *("draw", "parameters", "variation"),
    *(
        "n_turns",
        "n_tokens",
        "score",
        "score_turns",
        "score_length",
        "score_structure",
        "scorer_results",
        "flags",
        "accepted",
        "split_group",
    ),
    *("provider", "model", "prompt_sha256", "api_request_id", "input_tokens", "output_tokens", "cost_usd"),
    *("run_id", "generated_at"),
]

BREAK_A_TRAINER = {
    *("prompt", "completion", "chosen", "rejected", "labels", "input_ids", "image", "images", "tools", "chat_template_kwargs"),
}

words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip)
talks = st.builds(
    lambda pairs, system: Conversation(
        tuple(turn for question, answer in pairs for turn in (Turn("user", question), Turn("assistant", answer))), system
    ),
    st.lists(st.tuples(words, words), min_size=1, max_size=4),
    st.none() | words,
)


def test_the_columns_are_the_agreed_ones_in_their_order() -> None:
    assert SCHEMA.names == COLUMNS
    assert REVISE_SCHEMA.names == [*COLUMNS, "status", "reasons", "raw_text"]
    assert str(SCHEMA.field("messages").type) == "list<element: struct<role: string, content: string>>"


def test_no_column_has_a_name_that_breaks_a_trainer() -> None:
    assert not BREAK_A_TRAINER & set(REVISE_SCHEMA.names)


@given(st.lists(talks, min_size=1, max_size=5))
def test_every_conversation_that_keeps_the_rules_reads_back_as_it_was(
    make_row: Callable[..., PublishedRow], conversations: list[Conversation]
) -> None:
    rows = [make_row(n, conversation=conversation) for n, conversation in enumerate(conversations)]
    for row in rows:
        check(row, "anthropic")
    for conversation, row in zip(conversations, to_batch(rows).to_pylist(), strict=True):
        system = [] if conversation.system is None else [{"role": "system", "content": conversation.system}]
        assert row["messages"] == [*system, *({"role": turn.role, "content": turn.content} for turn in conversation.turns)]
        assert row["n_turns"] == len(conversation.turns)
        assert row["n_tokens"] == count_tokens(conversation)


def test_a_row_holds_what_it_was_given(make_row: Callable[..., PublishedRow]) -> None:
    row = make_row(5)
    (read,) = to_batch([row]).to_pylist()
    given = {name: getattr(row, name) for name in COLUMNS if hasattr(row, name)}
    assert {name: read[name] for name in given} == given
    assert (read["score"], read["score_turns"], read["score_length"], read["score_structure"]) == (8, 2, 2, 4)
    assert [(one["name"], one["points"], one["maximum"]) for one in read["scorer_results"]] == [
        ("turns", 2, 3),
        ("length", 2, 3),
        ("structure", 4, 4),
    ]
    assert read["split_group"] == "Persona 2 | Topic 1"
    assert read["accepted"] is True
    assert read["cost_usd"] == Decimal("0.001234567891")


def test_parameters_and_variation_are_names_with_texts_and_null_where_nobody_knows_them(
    make_row: Callable[..., PublishedRow],
) -> None:
    known = make_row(0, draw=2, parameters={"complexity": "low", "calm": True, "years": 3}, variation={})
    first, second = to_batch([known, make_row(1)]).to_pylist()
    texts = [{"name": "complexity", "value": "low"}, {"name": "calm", "value": "true"}, {"name": "years", "value": "3"}]
    assert (first["draw"], first["parameters"], first["variation"]) == (2, texts, [])
    assert (second["draw"], second["parameters"], second["variation"]) == (1, None, None)


def test_a_batch_in_which_a_column_is_all_null_has_the_same_schema(make_rows: Callable[..., list[PublishedRow]]) -> None:
    assert to_batch(make_rows(3, quality=None, api_request_id=None)).schema.equals(SCHEMA)
    assert to_batch(make_rows(3)).schema.equals(SCHEMA)


TURN = Turn("user", "Hi"), Turn("assistant", "Hello")


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"conversation": None}, "it has no conversation"),
        ({"conversation": Conversation(())}, "it has no turns"),
        ({"conversation": Conversation((Turn("assistant", "Hello"),))}, "its roles do not alternate"),
        ({"conversation": Conversation((*TURN, Turn("assistant", "Again")))}, "its roles do not alternate"),
        ({"conversation": Conversation((Turn("system", "x"), *TURN))}, "its roles do not alternate"),  # type: ignore[arg-type]
        ({"conversation": Conversation((*TURN, Turn("user", "Bye")))}, "its last turn is not the assistant's"),
        ({"conversation": Conversation((Turn("user", "Hi"), Turn("assistant", "")))}, "turn 2 is empty"),
        ({"conversation": Conversation((Turn("user", " \n"), Turn("assistant", "Hello")))}, "turn 1 is empty"),
        ({"conversation": Conversation((Turn("user", None), Turn("assistant", "Hi")))}, "turn 1 is empty"),  # type: ignore[arg-type]
        ({"conversation": Conversation(TURN, system=" ")}, "its system turn is empty"),
        ({"conversation": Conversation((Turn("user", "\ud83d"), Turn("assistant", "é")))}, "half a surrogate pair"),
        ({"persona": ""}, "persona is empty"),
        ({"model": None}, "model is empty"),
        ({"provider": "simulator"}, "it comes from simulator"),
        ({"status": Status.NEEDS_REVISION}, "its status is needs_revision"),
    ],
)
def test_a_row_that_would_not_train_is_refused_by_name(
    make_row: Callable[..., PublishedRow], changes: dict[str, Any], rule: str
) -> None:
    row = make_row(11, **changes)
    with pytest.raises(GenerationValidationError, match=rule) as caught:
        check(row, "anthropic")
    assert row.conversation_id in str(caught.value)
    assert caught.value.details["conversation_id"] == row.conversation_id


def test_a_time_without_its_zone_is_refused(make_row: Callable[..., PublishedRow]) -> None:
    row = make_row()
    with pytest.raises(GenerationValidationError, match="generated_at has no time zone"):
        check(make_row(generated_at=row.generated_at.replace(tzinfo=None)), "anthropic")


def test_what_was_not_accepted_is_shown_as_it_came(make_row: Callable[..., PublishedRow]) -> None:
    parsed = make_row(status=Status.NEEDS_REVISION, quality=quality(3, 1, 1, 1), reasons=("short", "half \ud83d"))
    unparsed = make_row(status=Status.DROPPED, quality=None, conversation=None, raw_text="half \ud83d")
    first, second = to_batch([parsed, unparsed], REVISE_SCHEMA).to_pylist()
    assert (first["status"], first["accepted"], first["reasons"]) == ("needs_revision", False, ["short", "half \\ud83d"])
    assert len(first["messages"]) == 5
    assert (second["messages"], second["n_turns"], second["n_tokens"], second["raw_text"]) == (None, None, None, "half \\ud83d")
