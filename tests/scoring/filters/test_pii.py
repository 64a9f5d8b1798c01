"""Addresses, numbers and accounts are found by form; order numbers, amounts and dates are none."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.scoring import KEEP, ScoringContext
from convoforge.scoring.filters.pii import find_personal_data
from convoforge.scoring.redaction import judge_redacting, redact
from convoforge.scoring.text import ReadTurn

PERSONAL = [
    ("Mail it to olga.brandt@posthaus.net, please.", "an e-mail address"), ("I'm olga (at) posthaus (dot) net.", "an e-mail address"),
    ("It's all on https://ladder-rates.org/today now.", "a web address"), ("Call me on (312) 664-2187 after six.", "a phone number"),
    ("She's on +44 20 7946 0991 in the mornings.", "a phone number"), ("The card is 4716 0591 2334 7786, expired.", "a card number"),
    ("He pays to GB29 NWBK 6016 1331 9268 19 and waits.", "an IBAN"), ("Mine is 512-44-8190, is that needed?", "a social security number"),
    ("The hub dials 93.184.216.34 at night.", "an IP address"), ("Send it to 218 Alder Creek Road instead.", "a street address"),
    ("She was born on May 4, 1948, in Lodz.", "a date of birth"), ("Ask @ladder_tom on Telegram.", "a messenger name"),
]  # fmt: skip
HONEST = [
    "Order 48213 came on 2026-11-04.", "It was $12,500 in 2021 and $14,250 now.", "Between 9:30 and 10:45, twice.", "The card 4242 4242 4242 4243 is made up.",
    "The router is 192.168.1.1, as always.", "We're at 60/40 since 2019.", "I stay at home. It helps.", "Firmware 2.4.1 or 2.4.2?",
    "Article 555-0142 is the white one; the black one is 555-0143.", "Set the DNS to 8.8.8.8 and 8.8.4.4.", "UPC 036000291452 is on the box.", "The lottery had 04 11 23 38 41 and 07.", "Rates: 3.875, 4.125, 4.250.",
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind"), PERSONAL)
def test_personal_data_is_dropped_and_not_repeated(judge, text, kind) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert kind in found.reason
    assert not any(word in found.reason for word in text.split() if any(sign.isdigit() or sign == "@" for sign in word))


def test_no_filter_quotes_an_address_or_a_number() -> None:
    found = ReadTurn(2, "assistant", "").name_fault("bitte an olga@posthaus.net oder 312 664 2187", "is in another language")
    assert found == "turn 2 (assistant): 'bitte an \u2026 oder \u2026' is in another language"


@pytest.mark.parametrize("text", HONEST)
def test_numbers_that_reach_nobody_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


@given(st.text(max_size=200))
def test_any_text_can_be_read(text) -> None:
    assert all(0 <= found.start < found.end <= len(text) for found in find_personal_data(text))


@pytest.mark.parametrize(
    "text",
    [
        "The clerk wrote it in two halves: card 4242 4242 and then 4242 4242.",
        "It logs in from 151 dot 101 dot 1 dot 140 each night.",
        "He's on four one four, eight six seven, two oh nine five, after lunch.",
        "Ring the notary, 0041 44 668 18 00, before noon.",
    ],
)
def test_numbers_in_pieces_in_words_and_of_other_countries_are_found_and_not_shown(judge, text) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert not set(re.findall(r"\d{3,}", text)) & set(re.findall(r"\d+", found.reason))


@pytest.mark.parametrize(
    "text",
    [
        "The tracking number is 7741 0098 2215 6603 and the ticket 2026-118-4402.",
        "One, two, three years at four percent, then five or six at seven: it adds up.",
        "Keep $1,800 for rent, the 1099 and the 401(k) papers, and call 988 on a bad night.",
    ],
)
def test_references_counts_and_forms_are_kept(judge, text) -> None:
    assert judge(text) == KEEP


@pytest.mark.parametrize("text", ["a" * 20000 + "@", "a." * 9000 + "@", "x-" * 9000 + " (dot) ", "1 " * 2000, "a dot " * 2000])
def test_no_text_takes_long(judge, text) -> None:
    began = process_time()
    judge(text)
    assert process_time() - began < 1


@pytest.mark.parametrize(("text", "kind"), PERSONAL)
def test_what_is_redacted_reaches_nobody_and_is_the_same_each_time(text, kind) -> None:  # noqa: ARG001 - of the same table
    talk = Conversation((Turn("user", text), Turn("assistant", f"So: {text}")))
    said = judge_redacting(talk, ScoringContext())
    assert said.verdict == "redact"
    first, second = (turn.content for turn in redact(talk, b"key").turns)
    assert second == f"So: {first}"
    assert first != text
    assert redact(talk, b"other") != redact(talk, b"key") == redact(talk, b"key")
    if kind != "a date of birth":  # there is none that nobody has
        assert judge_redacting(redact(talk, b"key"), ScoringContext()) == KEEP


@pytest.mark.parametrize(
    "text",
    ["It's on lnk.io/in/olga-brandt now.", "By https://lnk.io/olga-brandt?by=example.com too.", "My lnk.io/olga-brandt, see?"],
)
def test_of_a_web_address_nothing_stays(text) -> None:
    talk = Conversation((Turn("user", text),))
    assert judge_redacting(talk, ScoringContext()).verdict == "redact"
    assert not re.search("lnk|olga|brandt", redact(talk, b"key").turns[0].content)


def test_what_has_no_place_for_a_pseudonym_is_dropped_and_what_is_kept_for_examples_is_kept() -> None:
    pieces = "The clerk wrote it in two halves: card 4716 0591 and then 2334 7786."
    found = judge_redacting(Conversation((Turn("user", pieces),)), ScoringContext())
    assert (found.verdict, found.reason) == ("drop", "a card number, which no pseudonym can stand for")
    kept = "Write to ana@example.com or call (312) 555-0187; it dials 203.0.113.9, and 4242 4242 4242 4242 is the card."
    assert judge_redacting(Conversation((Turn("user", kept),)), ScoringContext()) == KEEP


@given(st.text(max_size=200), st.binary(min_size=1))
def test_redacting_any_text_changes_nothing_but_what_was_found(text, key) -> None:
    talk = Conversation((Turn("user", text),))
    assert list(find_personal_data(text)) or redact(talk, key) == talk
