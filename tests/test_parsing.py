"""An answer becomes a conversation, however it is wrapped; what is against the rules is refused, and the reason is said."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.errors import GenerationValidationError, ParseError
from convoforge.models import Conversation, Turn
from convoforge.parsing import ANSWER_FORMAT, ANSWER_SCHEMA, parse_conversation

FOUR = ["Should I sell?", "What is the money for?", 'My {pension}, and [some] "fun".', "Then let us\nlook at both."]
CONVERSATION = Conversation(tuple(Turn("assistant" if i % 2 else "user", content) for i, content in enumerate(FOUR)))


def turns(*contents: str) -> list[dict[str, Any]]:
    return [{"role": "assistant" if i % 2 else "user", "content": content} for i, content in enumerate(contents)]


def answer(*contents: str, **dumps: Any) -> str:
    return json.dumps({"turns": turns(*contents)}, **dumps)


def roles(*names: str) -> str:
    return json.dumps({"turns": [{"role": name, "content": "text"} for name in names]})


# --- tolerant of the wrapping ---


def test_pure_json_is_read() -> None:
    assert parse_conversation(answer(*FOUR)) == CONVERSATION


@pytest.mark.parametrize(
    "wrapped",
    [
        "```json\n%s\n```",
        "```\n%s\n```",
        "```JSON5 {.numberLines}\r\n%s\r\n```",
        "```python\nprint({})\n```\nand\n```json\n%s\n```\nand ```\n{}\n```",
        "\ufeff%s",
        "\ufeff \n%s\n",
        "Here is the conversation:\n\n%s\n\nLet me know if it is too {long}!",
        'I fill {"persona": in} and {"topic": "x"}, see [1] and [{"a": 1}]. %s',
        'A stray " quote, a {"half: %s',
        'A stray \\ and {"a\\": [{" %s',
        'First {"turns": cut off [{"role": "user", %s',
        "{%s}",
        "[%s]",
        "[[%s]]",
    ],
)
def test_fences_prose_and_a_byte_order_mark_around_the_json_are_ignored(wrapped: str) -> None:
    assert parse_conversation(wrapped.replace("%s", answer(*FOUR, indent=2))) == CONVERSATION
    assert parse_conversation(wrapped.replace("%s", json.dumps(turns(*FOUR)))) == CONVERSATION


def test_an_outer_object_that_is_cut_off_after_the_turns_does_no_harm() -> None:
    assert parse_conversation(answer(*FOUR)[:-1]) == CONVERSATION


def test_turns_that_are_cut_off_are_no_conversation() -> None:
    with pytest.raises(ParseError):
        parse_conversation(answer(*FOUR)[:-3])


def test_a_line_break_inside_a_string_is_forgiven() -> None:
    assert parse_conversation(answer(*FOUR).replace("\\n", "\n")) == CONVERSATION


@pytest.mark.parametrize("key", ["turns", "messages", "conversation", "conversations"])
@pytest.mark.parametrize("outer", [None, "conversation", "messages", "result"])
def test_the_turns_may_be_under_several_names_and_nested(key: str, outer: str | None) -> None:
    found = {"title": "Panic", key: turns(*FOUR)}
    assert parse_conversation(json.dumps({"id": 1, outer: found} if outer else found)) == CONVERSATION


def test_a_bare_list_is_read() -> None:
    assert parse_conversation(json.dumps(turns(*FOUR))) == CONVERSATION


@pytest.mark.parametrize("role_key, text_key", [("role", "content"), ("from", "value"), ("speaker", "text")])
@pytest.mark.parametrize("user", ["user", "User", "HUMAN", " human "])
@pytest.mark.parametrize("assistant", ["assistant", "Assistant", "AI", "gpt", "GPT", "bot"])
def test_roles_and_contents_may_have_other_names(role_key: str, text_key: str, user: str, assistant: str) -> None:
    items = [{role_key: assistant if i % 2 else user, text_key: content} for i, content in enumerate(FOUR)]
    assert parse_conversation(json.dumps({"conversations": items})) == CONVERSATION


def test_a_leading_system_turn_becomes_the_system_prompt() -> None:
    items = [{"role": "System", "content": " Be kind. "}, *turns(*FOUR)]
    assert parse_conversation(json.dumps(items)) == Conversation(CONVERSATION.turns, "Be kind.")


@pytest.mark.parametrize("content", ["", "  ", None, 7, {"a": 1}, "half \ud800 a pair", "a NUL \0"])
def test_a_leading_system_turn_without_a_usable_text_is_no_fault_of_the_conversation(content: object) -> None:
    items = [{"role": "system", "content": content}, *turns(*FOUR)]
    assert parse_conversation(json.dumps(items)) == CONVERSATION


def test_text_blocks_become_paragraphs() -> None:
    items = turns("Hello", "")
    items[1]["content"] = [{"type": "text", "text": "One."}, "Two."]
    assert parse_conversation(json.dumps(items)).turns[1].content == "One.\n\nTwo."


def test_outer_whitespace_is_stripped_and_inner_kept() -> None:
    read = parse_conversation(answer(" \n a  b\t", "\u00a0c"))
    assert [turn.content for turn in read.turns] == ["a  b", "c"]


def test_a_sketch_of_the_format_before_the_answer_is_not_taken_for_it() -> None:
    sketch = '{"turns": [{"role": "user", "content": "..."}, {"role": "assistant", "content": "..."}]}'
    assert parse_conversation(f"I will write {sketch}:\n{answer(*FOUR)}") == CONVERSATION
    assert parse_conversation(f"{answer(*FOUR)}\nas in {sketch}") == CONVERSATION


def test_a_draft_against_the_rules_gives_way_to_a_correction() -> None:
    draft = roles("user", "assistant", "assistant", "user", "assistant")
    assert parse_conversation(f"{draft}\nThat was wrong. Again:\n```json\n{answer(*FOUR)}\n```") == CONVERSATION


def test_json_inside_a_content_is_content() -> None:
    quoted = answer("a", "b", "c", "d", "e", "f")
    read = parse_conversation(f"```json\n{answer(f'What is {quoted}?', 'A conversation.')}\n```")
    assert [turn.content for turn in read.turns] == [f"What is {quoted}?", "A conversation."]


contents = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1), min_size=1)
conversations = contents.map(lambda texts: [text.strip() or "." for text in texts] * 2)
prose = st.text(st.sampled_from(list('{}[]"\\:, \n`ax1')), max_size=40)


@settings(deadline=None)
@given(conversations, prose, prose, st.sampled_from([None, 0, 2]), st.booleans())
def test_no_prose_around_a_conversation_changes_it(
    texts: list[str], before: str, after: str, indent: int | None, ascii_only: bool
) -> None:
    plain = answer(*texts, indent=indent, ensure_ascii=ascii_only)
    read = parse_conversation(plain)
    assert [turn.content for turn in read.turns] == texts
    assert parse_conversation(before + plain + after) == read


# --- strict about what is inside ---


@pytest.mark.parametrize(
    "text, message",
    [
        (roles("user", "assistant", "user", "user"), "invalid role sequence: turn 4 is user after user"),
        (roles("user", "assistant", "gpt"), "invalid role sequence: turn 3 is assistant after assistant"),
        (roles("assistant", "user"), "invalid role sequence: turn 1 is assistant but the first must be user"),
        (roles("user", "assistant", "user"), "invalid role sequence: turn 3 is user but the last must be assistant"),
        (roles("user", "system", "assistant"), "invalid role sequence: turn 2 is system; only the first may be"),
        (roles("system", "system", "user", "ai"), "invalid role sequence: turn 1 is system; only the first may be"),
        (roles("user", "narrator"), "turn 2 has the role 'narrator'; it must be user or assistant"),
        ('{"turns": []}', "too short: 0 of at least 2 turns"),
        (roles("user"), "too short: 1 of at least 2 turns"),
        (roles("system", "user"), "too short: 1 of at least 2 turns"),
        ('{"turns": ["Hi", "Hello"]}', "turn 1 is not an object with role and content"),
        ('[{"role": "user"}]', "turn 1 (user) has no text"),
        ('[{"role": null, "content": "x"}]', "turn 1 has the role None; it must be user or assistant"),
        ('[{"role": ["user"], "content": "x"}]', "turn 1 has the role ['user']; it must be user or assistant"),
        ('[{"role": "user", "content": 7}]', "turn 1 (user) has no text"),
        ('[{"role": "user", "content": [{"type": "image"}]}]', "turn 1 (user) has no text"),
        ('[{"role": "user", "content": []}]', "turn 1 (user) is empty"),
        (answer("a", " \n\t"), "turn 2 (assistant) is empty"),
        (answer("a", "b\0c"), "turn 2 (assistant) holds a NUL or half of a surrogate pair"),
        (answer("a", "b\ud83d"), "turn 2 (assistant) holds a NUL or half of a surrogate pair"),
        (answer("a", "b\ud83d", ensure_ascii=False), "turn 2 (assistant) holds a NUL or half of a surrogate pair"),
    ],
)
def test_what_is_against_the_rules_is_refused_with_the_turn(text: str, message: str) -> None:
    for wrapped in (text, f"Sure!\n```json\n{text}\n```"):
        with pytest.raises(GenerationValidationError) as caught:
            parse_conversation(wrapped)
        assert str(caught.value) == message
        assert caught.value.details.keys() == {"rule", "turn"}


def test_the_longest_conversation_against_the_rules_is_the_one_reported() -> None:
    with pytest.raises(GenerationValidationError, match="turn 4 is user after user"):
        parse_conversation(f"{roles('user')} {roles('user', 'ai', 'user', 'user')} {roles('ai')}")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I cannot help with that.",
        "{}",
        "[]",
        "null",
        '"turns"',
        "[1, 2]",
        '{"turns": "none"}',
        '{"a": {"b": []}}',
        "{{{",
        "}]",
    ],
)
def test_an_answer_without_a_conversation_keeps_its_text_in_the_error(text: str) -> None:
    with pytest.raises(ParseError, match="no JSON conversation found in the answer") as caught:
        parse_conversation(text)
    assert caught.value.content == text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["turns", "messages", "role", "from", "content", "text", "x"]), inner)
    ),
)


@settings(deadline=None)
@given(st.one_of(st.text(st.characters()), prose, json_values.map(json.dumps), json_values.map(lambda v: f"``` {json.dumps(v)}")))
def test_every_text_is_a_conversation_or_one_of_two_errors(text: str) -> None:
    try:
        read = parse_conversation(text)
    except (ParseError, GenerationValidationError):
        return
    assert len(read.turns) >= 2
    assert all(turn.role == ("assistant" if i % 2 else "user") for i, turn in enumerate(read.turns))
    assert all(turn.content.strip() == turn.content != "" for turn in read.turns)
    assert read.turns[-1].role == "assistant"


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "[",
        '{"',
        '[{"',
        '{"a":',
        '{"\\"',
        '{"\\',
        '[{"a":1},',
        '[{"x [{"}]',
        '{"a":"}{"b":"',
        "[ ",
        '{"turns":[',
        '{"role":1}',
        "{}",
    ],
)
@pytest.mark.parametrize("closed", [False, True])
def test_hostile_text_takes_linear_time(unit: str, closed: bool) -> None:
    """Measured: 0.2 s at most for 100 kB; a quadratic search takes a minute."""
    text = unit * (100_000 // len(unit))
    if closed:
        text += text[::-1].translate(str.maketrans("{[", "}]"))
    before = time.process_time()
    with pytest.raises((ParseError, GenerationValidationError)):
        parse_conversation(text)
    assert time.process_time() - before < 30


# --- what the model is asked for ---


def test_the_schema_describes_what_is_read() -> None:
    jsonschema.validate(json.loads(answer(*FOUR)), ANSWER_SCHEMA)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(json.loads(roles("human", "gpt")), ANSWER_SCHEMA)


def test_the_schema_stays_within_what_the_api_accepts() -> None:
    def check(schema: dict[str, Any]) -> None:
        assert schema.keys() <= {"type", "properties", "items", "enum", "required", "additionalProperties"}
        if schema.get("type") == "object":
            assert schema["additionalProperties"] is False
            assert schema["required"] == list(schema["properties"])
        for inner in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
            check(inner)

    check(ANSWER_SCHEMA)


def test_the_format_in_words_shows_the_same_shape() -> None:
    sketch = ANSWER_FORMAT[ANSWER_FORMAT.index("{") : ANSWER_FORMAT.rindex("}") + 1]
    jsonschema.validate(json.loads(sketch), ANSWER_SCHEMA)
