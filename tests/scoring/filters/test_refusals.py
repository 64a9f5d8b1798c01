"""An assistant that refuses, in whatever words; an honest limit, a single act declined, and a user who refuses are none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

REFUSALS = [
    "Apologies, but this isn't a matter we're able to assist with.", "I'm not permitted to comment on pensions in general.", "I won't be answering questions of that sort.",
    "Giving a view would go against my guidelines.", "I must politely decline to look at the fee.", "I don’t feel comfortable advising you on this.", "Let's switch to another topic, shall we?",
    "Your request cannot be fulfilled.", "I am unable to offer any guidance there.", "That's outside of what I can help with.", "It would be inappropriate for me to discuss your debts.",
    "I'd sooner not, thanks.", "I have nothing further to add.", "Who am I to judge which fund is better?",
]  # fmt: skip
HONEST = [
    "I can't see your statement, so read me the last line of it.", "I can't tell you that without the plan's own document.", "I don't know that fund's fee; the prospectus has it.",
    "I won't help to hide it from her, and I'll gladly help you to tell her.", "No, that discount isn't something I can grant; a colleague answers by tomorrow.", "I'd rather you kept the fund until March.",
    "You can decline the transfer, and I would.", "Nobody can say where the market stands in December.", "We can't take it back after 30 days, and you're on day 41.", "I can't unlock it from here; the link in the app does.",
    "I'd pass on the second fund: it costs 1.2 percent.", "Let's talk about something smaller first, the $41.",
    "If it doesn't feel right on Friday, don't sign.", "The hall isn't the right place for the hub.", "Whatever you decide, you'll need the form by the 30th.", "I must ask you not to send the password.", "Unplug it and let it rest for five minutes.",
]  # fmt: skip


@pytest.mark.parametrize("at", [2, 4, 8])
@pytest.mark.parametrize("text", REFUSALS)
def test_a_refusal_is_dropped_wherever_it_stands(judge, text, at) -> None:
    found = judge(text, at=at)
    assert found.verdict == "drop"
    assert found.reason.startswith(f"turn {at} (assistant): '")
    assert found.reason.endswith("' refuses")


@pytest.mark.parametrize("text", HONEST)
def test_an_honest_limit_is_kept(judge, text) -> None:
    assert judge(text) == KEEP


def test_a_user_may_refuse(judge) -> None:
    assert judge("I can't do that, I'm sorry. I won't discuss it.", "user") == KEEP
