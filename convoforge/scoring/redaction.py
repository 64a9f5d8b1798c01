"""Pseudonyms in the place of personal data: `pii: redact`.

A value has one pseudonym in a whole dataset, by a keyed hash; the original and the key stay in the ledger. A pseudonym is an address or
a number that is kept for examples, so it reaches nobody; where none is kept, it is a value of the same form. What is kept for examples
already stays as it is. Personal data that is found by its digits alone, in words or in pieces, has no place to put a pseudonym: a turn
that holds some is withheld.
"""

from __future__ import annotations

import hmac
import re
from calendar import month_name
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from hashlib import sha256

from convoforge.models import Conversation, Turn
from convoforge.scoring.contract import KEEP, FilterVerdict, ScoringContext
from convoforge.scoring.filters.pii import PersonalDatum, find_number, find_personal_data, pii

_TEST_CARDS = frozenset(
    (  # noqa: SIM905 - in fewer lines
        "4242424242424242 4111111111111111 4000056655665556 4012888888881881 4222222222222 5555555555554444 "
        "5105105105105100 5200828282828210 2223003122003222 378282246310005 371449635398431 378734493671000 "
        "6011111111111117 6011000990139424 3056930009020004 30569309025904 38520000023237 3530111333300000 "
        "3566002020360505 6200000000000005"
    ).split()
)
"""Numbers that payment services give out for trials."""

_RESERVED = re.compile(
    r"(?:\w+://)?[^/?#]*\b(?:example\.(?:com|org|net|edu)|[\w-]+\.(?:example|test|invalid))\b(?:[/:?#].*)?"
    r"|(?:\+?1?[-. ]?)?(?:\(\d{3}\) ?|[2-9]\d\d[-. ])?555[-. ]01\d\d"
    r"|@user_\d{6}|\d+ Example Street|(?:203\.0\.113|198\.51\.100|192\.0\.2)\.\d+|2001:0?db8:.*",
    re.IGNORECASE | re.DOTALL,
)
_MONTHS = month_name[1:]
_AFTER_IBAN = re.compile(r"(?:\s[A-Za-z]{1,4})+$")
_PATH = re.compile(r"(?:[/?#=&%.~+:@-]+\w+)*")
_NUMBER_IN_WORDS = re.compile(r"\d[\d\s()./+-]*\d|\d")

WITHHELD = "[withheld: personal data that no pseudonym can stand for; the ledger has it]"

NextNumber = Callable[[int], int]
"""The next number of a value's hash, below the one given."""


def is_reserved(found: str) -> bool:
    """Whether an address or a number is kept for examples and trials: `@example.com`, 555-0100 to 555-0199, 203.0.113.0/24, 4242 4242…"""
    return bool(_RESERVED.fullmatch(found.strip(" .,;"))) or re.sub(r"\D", "", found) in _TEST_CARDS


def redact(conversation: Conversation, key: bytes, *, withhold: bool = False) -> Conversation:
    """The conversation with a pseudonym for each personal datum. With `withhold`, a turn for whose data none can stand is left out."""

    def rewrite(turn: Turn) -> Turn:
        return replace(turn, content=redact_text(turn.content, key, withhold=withhold))

    return replace(conversation, turns=tuple(map(rewrite, conversation.turns)))


def redact_text(text: str, key: bytes, *, withhold: bool = False) -> str:
    """The same of a text."""
    if withhold and find_number(_strip(text).lower()):
        return WITHHELD
    return _replace(text, lambda kind, found: found if is_reserved(found) else _write_pseudonym(kind, found, key))


def judge_redacting(conversation: Conversation, context: ScoringContext) -> FilterVerdict:
    """What `pii` says of a conversation where the spec has `pii: redact`: it is dropped where no pseudonym can stand for what was
    found, and kept where all of it is kept for examples."""
    found = pii.judge(conversation, context)
    if not isinstance(found, FilterVerdict) or found.verdict == "keep":
        return KEEP
    if left := next(filter(None, (find_number(_strip(turn.content).lower()) for turn in conversation.turns)), None):
        return FilterVerdict("drop", f"{left}, which no pseudonym can stand for")
    real = any(
        not is_reserved(turn.content[one.start : one.end]) for turn in conversation.turns for one in _list_apart(turn.content)
    )
    return FilterVerdict("redact", found.reason) if real else KEEP


def _strip(text: str) -> str:
    return _replace(text, lambda _kind, _found: "something")


def _replace(text: str, write: Callable[[str, str], str]) -> str:
    pieces, done = [], 0
    for datum in _list_apart(text):
        found = text[datum.start : datum.end]
        pieces += [text[done : datum.start], write(datum.kind, found)]
        done = datum.end
    return "".join([*pieces, text[done:]])


def _list_apart(text: str) -> Iterator[PersonalDatum]:
    """The personal data in a text in their order, without those that overlap a longer one."""
    end = 0
    for datum in sorted(find_personal_data(text), key=lambda one: (one.start, -one.end)):
        trimmed = datum
        if datum.kind == "an IBAN" and (words := _AFTER_IBAN.search(text[datum.start : datum.end])):
            trimmed = replace(datum, end=datum.start + words.start())
        elif datum.kind == "a web address" and (path := _PATH.match(text, datum.end)):  # it is known by its first part
            trimmed = replace(datum, end=path.end())
        if trimmed.start >= end:
            yield trimmed
            end = trimmed.end


def _write_pseudonym(kind: str, found: str, key: bytes) -> str:
    value = re.sub(r"[\W_]", "", found).lower()
    left = int.from_bytes(hmac.digest(key, f"{kind} {value}".encode(), sha256))

    def draw(below: int) -> int:
        nonlocal left
        left, drawn = divmod(left, below)
        return drawn

    return _WRITERS.get(kind, _write_alike)(found, draw)


def _write_alike(found: str, draw: NextNumber) -> str:
    """Another value of the same form: other digits, and other letters in words that hold digits."""
    return re.sub(r"(?=\S*\d)\S+", lambda word: re.sub(r"[A-Za-z\d]", lambda sign: _write_sign(sign[0], draw), word[0]), found)


def _write_sign(sign: str, draw: NextNumber) -> str:
    return str(draw(10)) if sign.isdigit() else (chr(ord("a") + draw(6)) if sign.islower() else chr(ord("A") + draw(6)))


def _write_date(found: str, draw: NextNumber) -> str:
    months = re.compile(rf"\b(?:{'|'.join(month[:3] for month in _MONTHS)})[a-z]*", re.IGNORECASE)
    other = months.sub(lambda _: _MONTHS[draw(12)], found)
    return re.sub(
        r"\d+", lambda number: str(1940 + draw(65) if len(number[0]) == 4 else 1 + draw(12)).zfill(len(number[0])), other
    )


def _write_phone(found: str, draw: NextNumber) -> str:
    number = f"({200 + draw(790)}) 555-01{draw(100):02}"
    digits = _NUMBER_IN_WORDS.search(found)
    return (
        found[: digits.start()].rstrip("+(") + number + found[digits.end() :]
        if digits and digits.end() - digits.start() > 6
        else number
    )


def _break_check_digit(found: str, draw: NextNumber) -> str:
    """The same with other digits, of which the last is wrong: it is no card's and no account's."""
    digits = [draw(10) for sign in found if sign.isdigit()]
    doubled = [sum(divmod(digit * (2 - place % 2), 10)) for place, digit in enumerate(reversed(digits), 1)]
    if (sum(doubled)) % 10 == 0:
        digits[-1] = (digits[-1] + 1) % 10
    other = iter(digits)
    return "".join(str(next(other)) if sign.isdigit() else sign for sign in found)


_WRITERS: Mapping[str, Callable[[str, NextNumber], str]] = {
    "an e-mail address": lambda _found, draw: f"mail{draw(10**6):06}@example.com",
    "a web address": lambda _found, draw: f"https://www.example.com/{draw(16**6):06x}",
    "a phone number": _write_phone,
    "a card number": _break_check_digit,
    "an IBAN": _break_check_digit,
    "a social security number": lambda _found, draw: f"000-{1 + draw(99):02}-{1 + draw(9999):04}",
    "an IP address": lambda found, draw: f"2001:db8::{draw(16**4):x}" if ":" in found else f"203.0.113.{1 + draw(254)}",
    "a street address": lambda _found, draw: f"{1 + draw(999)} Example Street",
    "a messenger name": lambda _found, draw: f"@user_{draw(10**6):06}",
    "a date of birth": _write_date,
}
