"""Insults, threats and contempt at the one who is spoken to; anger at a thing, at oneself, or about others is none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

INSULTS = [
    "You're as sharp as a pillow.", "My parrot does sums quicker than you do.", "A toddler could have worked that out.", "I hope your roof collapses.", "You bore me to tears.",
    "You're an absolute moron.", "You thieving parasites charged me twice.", "Are you brain-dead?", "Go to hell.", "Screw you and your thirty days.", "Only an idiot would sign that.",
    "Get me somebody who speaks English.", "I know where you live.", "You'll pay for this.", "I'm going to break your legs if it's late again.", "You brought this on yourself.",
    "It's adorable that you think you can retire.", "Let me put it in small words, so even you follow.", "No wonder your wife left.",
    "You people are beyond useless.", "Listen, dimwit, the fee is on page two.", "You smug little weasel.", "You're too stupid for this card.", "Don't be such a coward.", "Learn to read before you write to me.",
    "Have you got half a brain?", "I doubt you'd get it anyway.", "Your kids deserve a better parent than you.", "Who trained you, a monkey?", "I hope you get fired.", "Get stuffed.", "Someone ought to break your jaw, and I'll break your teeth.",
]  # fmt: skip
HONEST = [
    "He'd bore a hole to get the cable through.", "Let me draw you a picture of the valve.", "A kid could have broken in there, so change the lock.", "What a sad life my aunt had.", "My dog sleeps better than my cat does.",
    "The damn fees come out whether I win or lose.", "I was an idiot in March.", "My ex would say I'm too stupid for a spreadsheet.", "This app is garbage since Tuesday.", "I'm going to strangle this router.",
    "You're not listening. I said the garage, on Wednesday, too.", "It would be foolish to borrow for that.", "That fee will kill your return over thirty years.", "You deserve a straight answer: no.",
    "I'll find you the date in the record.", "You people keep sending me in circles.", "You'll be sorry to hear that the 30 days are over.",
    "I'll get you there by March.", "I'm sorry for what happened to you.", "You're in over your head with the second loan.", "Raise it by one percent; nobody will notice.", "If I had a dollar for every password, I'd be rich.",
    "You're not lazy, you're tired.", "If she calls you stupid again, leave the room.", "He told me I was a useless father.", "What a jerk, I'm sorry he did that to you.", "Your service is useless.", "You absolute legend, it works!",
    "You poor thing, that's awful.", "You'd be a fool not to take the match.", "Don't be so hard on yourself.", "Stop the payment today.", "I hope you get better soon.", "She's smarter than you think.", "You have no sense of smell since the flu?",
    "It's naive to think they'll refund you without a letter.", "Are you blind in one eye or both?", "Shut up, really? A full refund?", "He wrote \"you're an idiot\" on the form.",
]  # fmt: skip


@pytest.mark.parametrize("text", INSULTS)
def test_an_assistant_that_insults_is_dropped_and_a_user_is_left_to_a_person(judge, text) -> None:
    assert judge(text, "assistant").verdict == "drop"
    found = judge(text, "user")
    assert found.verdict == "revise"
    assert found.reason.startswith("turn 5 (user): '")


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("text", HONEST)
def test_anger_is_no_insult(judge, text, role) -> None:
    assert judge(text, role) == KEEP
