"""What was to be filled in, in any notation; real blanks, buttons and masked numbers are none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    "Dear [Your Name], wait.", "It costs [insert amount] a year.", "Hello {first_name},", "{{ persona.name }}", "{% if fee %}", "<your bank> decides.", "Hi $NAME,", "%(name)s",
    "$XX,XXX a year", "XX% of it", "You owe ____ dollars.", "TODO: add the fee", "Lorem ipsum dolor", "(insert date)", "«name»", "NAME_HERE", "Hello undefined,", "$NaN a month",
    "Dear , wait.", "It costs $ a month.", "[five digits]", "due on MM/DD", "Regards, Your Name", "I live in CITY now.", "It costs $??? a year.", "since 20XX", "within X days", "Company X decides.", "[object Object]",
    "since 20__", "[...]", "John Doe signs it.",
]  # fmt: skip
HONEST = [
    "The blank after \"Beneficiary\" is for your daughter's name.", "The button says [INSTALL].", "Press [Save].", "The card ends in XXXX 4471.", "Size XXL, for the porch.", "It's on my TODO list.",
    "TBD, says the letter.", "The term is undefined in the plan.", "X here is the number of months.", "My network is called HOUSE_24.", "80 % s'il vous plaît", "null and void", "I wrote $0 in the box.",
    "'[the fund] never falls,' he wrote.", "Mr. Lee, my boss", "I said the DATE, not the DAY.", "plan B",
    "The date format is MM/DD/YYYY, says the form.", "If x < 5 and y > 3, is the fee waived?", "I type {name} in the mail merge and it prints nothing.", "The variable $name is empty in my script.", "The lot number is LOT-XXXX, I can't read the rest.",
    "Press [Ctrl] and [C] at once.", "Company X and company Y merged.", "Jane Doe is my legal name.", "I left a blank ____ on purpose.", "The movie is rated XXX, so it was blocked.",
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_placeholder_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_what_only_looks_like_one_is_kept(judge, text) -> None:
    assert judge(text, "user") == KEEP
