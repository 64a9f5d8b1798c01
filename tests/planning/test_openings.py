"""How recent conversations begin, as the next prompts are told."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Prompt, Turn
from convoforge.planning.keys import request_fingerprint
from convoforge.planning.openings import LONGEST, Openings
from convoforge.planning.plan import worst_cost_pico
from convoforge.planning.spec import Generation
from convoforge.pricing import price_of


def talk(opening: str) -> Conversation:
    return Conversation((Turn("user", opening), Turn("assistant", "I see.")))


def test_a_prompt_is_told_of_the_newest_openings_of_its_topic_and_its_persona_once_each() -> None:
    openings = Openings()
    assert openings.describe("Ann", "debt") == ""
    for number in range(5):
        openings.add("Ann", "debt", talk(f"Opening\n {number}?"))
    openings.add("Bob", "debt", talk("Bob's."))
    openings.add("Ann", "tax", talk("Of tax."))
    told = openings.describe("Ann", "debt").split("\n- ")[1:]
    assert told == ["Opening 3?", "Opening 4?", "Bob's.", "Of tax."]
    assert openings.describe("Eve", "sleep") == ""


@given(st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.text(min_size=1, max_size=2_000)), max_size=30))
def test_what_is_told_never_grows_beyond_its_bound(made: list[tuple[str, str, str]]) -> None:
    openings = Openings()
    for persona, topic, text in made:
        openings.add(persona, topic, talk(text))
    assert len(openings.describe("a", "x")) <= len(LONGEST)


def test_what_is_told_is_sent_and_reserved_for_and_changes_no_fingerprint() -> None:
    plain, told = Prompt("s", "u"), Prompt("s", "u", avoid="Not so.")
    assert (plain.message, told.message) == ("u", "u\n\nNot so.")
    on, off = Generation(avoid_repeats=True), Generation()
    assert request_fingerprint("m", told, on) == request_fingerprint("m", plain, off)
    price = price_of("claude-sonnet-5-5", batch=False)
    assert worst_cost_pico(told, 256, price) > worst_cost_pico(plain, 256, price)
