"""The text in which a person edits a conversation."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Turn
from convoforge.review.text_form import read_text, write_text

contents = st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"]), min_size=1).map(str.strip).filter(bool)
marked = st.sampled_from(["=== user ===", "\\=== user ===", "===  ===", "a\n=== b ===\nc", "======"])


@given(st.lists(st.tuples(st.sampled_from(("user", "assistant")), contents | marked), max_size=5))
def test_what_is_written_is_read_as_it_was(turns: list[tuple[str, str]]) -> None:
    text = write_text(Turn(*one) for one in turns)  # type: ignore[arg-type]
    assert read_text("a comment\n\n" + text) == [{"role": role, "content": content} for role, content in turns]
    assert read_text(text.replace("\n", "\r\n")) == read_text(text)


def test_a_name_is_read_however_it_is_spelled() -> None:
    assert read_text("===user===  \nHello\n\n===  Assistent ===\n\n") == [
        {"role": "user", "content": "Hello"},
        {"role": "Assistent", "content": ""},
    ]
    assert read_text("nothing") == []
