"""Characters that were lost, misread, hidden or left as escapes; accents, fractions and paths are none of these."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

MISREAD = ["cp1252", "latin-1", "mac_roman", "cp437", "cp850"]
FAULTS = [
    "It wasn\ufffdt me.", "a\u200bb", "fi\u00adnance", "\u202e0042\u202c", "the \u2068hub\u2069", "a\x07b", "\ue000", "o\u0301\u0302\u0303\u0304n", "h\u0337e\u0337y",
    "p\u0430yment", "\uff28\uff45y", "𝗛𝗲𝘆", "the \ufb01le", "ʜᴇʏ you", "It\\u2019s", "First.\\n\\nThen.", 'He said \\"no\\".', "R &amp; D", "it&#39;s", "caf=C3=A9",
    "100%25%20of", "don?t", "itâs", "won´t", "donÕt", "\x92", "the 5^Mth", "know\u2028then", "costs \\$500",
]  # fmt: skip
HONEST = [
    "“Don’t,” she said – it’s 20 °C… and £5, €6, ½ a percent, ±2, 3 × 4.", "José Núñez-Ibáñez, Åkerström, Łukasz, Dvořák, İpek", "the naïve café’s résumé", "CAFÉ”",
    r"C:\new\tools and \\nas\today and \cameras\new\today", "AT&T; R&D; Q&A", "buy\\rent", "5*4=20, so 100%20", "either?or", "👩‍💻 and 🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "日本 is Japan", "α and β, 10 Ω", "¯\\_(ツ)_/¯",
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_broken_character_is_dropped(judge, text) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert found.reason.isprintable()


@pytest.mark.parametrize("encoding", MISREAD)
@pytest.mark.parametrize("text", ["don’t", "“yes”", "5 – 6", "€400", "£20", "Zoë", "Núñez", "wait…"])
def test_utf_8_read_in_an_old_encoding_is_dropped(judge, text, encoding) -> None:
    assert judge(f"Well, {text.encode().decode(encoding, 'ignore')} then.").verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_what_people_type_is_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_marks_of_direction_belong_to_languages_that_need_them(judge) -> None:
    assert judge("שלום\u200f 5", language="he") == KEEP
    assert judge("hello\u200f 5").verdict == "drop"
