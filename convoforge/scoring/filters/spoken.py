"""Addresses and numbers that are spelled out, as they would be typed: `jane dot doe (at) mail`, `four one four, oh one two nine`."""

from __future__ import annotations

import re

_SIGNS = (
    (re.compile(r" ?[\[({<] ?(?:at|@) ?[\])}>] ?"), "@"),
    (re.compile(r" ?[\[({<] ?(?:dot|punkt|point|\.) ?[\])}>] ?"), "."),
    (re.compile(r",? dot ,?"), "."),
    (re.compile(r" underscore "), "_"),
    (re.compile(r" (?:dash|hyphen|minus) "), "-"),
    (re.compile(r" (?:forward )?slash "), "/"),
)
_ONES = dict(zip("zero one two three four five six seven eight nine".split(), "0123456789", strict=True)) | {"oh": "0", "o": "0"}
_TEENS = {
    word: str(number)
    for number, word in enumerate("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(), 10)
}
_TENS = {word: str(number) for number, word in enumerate("twenty thirty forty fifty sixty seventy eighty ninety".split(), 2)}
_TIMES = {"double": 2, "triple": 3}
_NUMBER = "|".join((*_ONES, *_TEENS, *_TENS, *_TIMES, "hundred"))
_RUN = re.compile(rf"\b(?:(?:{_NUMBER}|\d+)(?:[ ,.-]{{1,3}}(?:then |and then |and |dash )?|\b)){{2,}}")


SPOKEN = frozenset(("two", "three", "four", "five", "six", "seven", "eight", "nine", "zero", "oh ", "oh-", "oh,", "double"))
FEWEST_SPOKEN = 4  # a phone number in words has at least so many of them


def has_spoken_digits(plain: str) -> bool:
    """Whether digits in words may stand in a text in lower case. Counting takes a tenth of the time of a pattern."""
    return sum(map(plain.count, SPOKEN)) >= FEWEST_SPOKEN


def write_signs(plain: str) -> str:
    """A text in lower case, with `dot`, `(at)`, `slash` and their like written as signs."""
    if any(
        mark in plain for mark in (" dot ", "dot)", "dot]", "(at", "[at", "{at", "<at", "[.", "(.", "(@", "[@", " underscore ")
    ):
        for pattern, sign in _SIGNS:
            plain = pattern.sub(sign, plain)
    return plain


def write_digits(plain: str) -> str:
    """A text in lower case, with each run of numbers in words written as its digits, without blanks."""
    return _RUN.sub(lambda run: f"{_read_digits(re.findall(r'[a-z]+|[0-9]+', run[0]))} ", plain)


def _read_digits(words: list[str]) -> str:
    digits, times, tens = "", 1, ""
    for word in words:
        if tens and word in _ONES and _ONES[word] != "0":
            digits, tens = f"{digits}{tens}{_ONES[word]}", ""
            continue
        if tens:
            digits, tens = f"{digits}{tens}0", ""
        if word in _ONES:
            digits, times = digits + _ONES[word] * times, 1
        elif word in _TENS:
            tens = _TENS[word]
        elif word in _TIMES:
            times = _TIMES[word]
        elif word == "hundred":
            digits += "00"
        else:
            digits += _TEENS.get(word, word if word.isdigit() else "")
    return digits + (f"{tens}0" if tens else "")
