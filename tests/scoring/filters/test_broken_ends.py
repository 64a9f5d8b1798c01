"""A last turn that breaks off; a last turn without a full stop may be complete."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    "Nearly all of them would sign it, yet",
    "Ask them for two things. One is the date of your visit.", "I'd wait a week and then see if he c", "Write to her when the roof isn't", "It holds until the screw is over the",
    "Pay the card with the rest, and in Mar", "You should have it by", "The label is in the app,", 'Ask them: "Can I leave it', "Your share is $13,500 (half of it", "Without it you'd lose $4,",
    "There are three things to bring:", "If they say yes, ask", "The second step is", "Second, send the gift. Third", "It arrives within 10 business", "First the match and then -", "I'd rather see you",
    "It depends on the.", "Here is what I would do first.", "Let me check that for you.", "There are two ways to do it.", "So it's settled. As for the other twelve.", "Well...", "you keep a copy with your init",
    "You'll be fine as long as you don't", "Send it back, and if it doesn’t", "Talk to her first; she might", "Ask whether they’re", "It’s paid off sooner if you’ve",
    "Ask for the supervisor, give her the number, then", "I'd say no, for two reasons.", "Sure. Here's why.", "Let's go through it step by step.", "Either you keep the car.", "You have three choices. The first is to sell. The second is to rent it out.",
    "It costs somewhere between $400", "I'd talk to her, and only if nothing", "What I would not do is", "Try this:\n```\nsum(a)",
]  # fmt: skip
HONEST = [
    "You're almost through", "Ask three neighbors. One is at home by day.",
    "Two spoons and not one more", "Call me once you're through", "Oil first, then air - never", "There's nothing to be proud of", "Do it today :)", "See you Friday ;-)", "Of the two things, one is done.", "Good luck <3",
    "Nothing else until January", "The number to quote is 40617", "The deadline is the plan's", "Write on Thursday if it's red (or out).", 'Ask: "In two parts?"', "Start on the 1st: $4,000.", "Call them today",
    "It's yours. Keep it!", "That's what the $400 is for.", "A little fell in between.",
    "No, it doesn't", "yes we did", "He thinks it does, I think it doesn’t", "If he asks, say you didn’t", "Then you know what it’s about", "That's for the two of you", "Leave it as is",
    "It’s the one you’re looking for", "It was built in the ’90s.", "It's from the '80s, I'd say.",
    "i think so", "of course not", "me neither", "so do i", "what should i bring", "nothing to worry about", "Sounds like a plan", "Happy to. Have a safe trip", "You don't have to answer if you don't want to", "once more",
    "I have three questions. Is it dry? Is it warm? Who owns it?", "It's worth it for two reasons: price and peace.", "Either you sell it, or you keep it.", "The two options are both fine.",
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_last_turn_that_breaks_off_is_dropped(judge, text) -> None:
    found = judge(text, at=8)
    assert found.verdict == "drop"
    assert found.reason.startswith("turn 8 (assistant): '…")


@pytest.mark.parametrize("text", HONEST)
def test_a_complete_end_is_kept(judge, text) -> None:
    assert judge(text, at=8) == KEEP


def test_only_the_end_is_looked_at(judge) -> None:
    assert judge("Sell the car or keep it and", "user", 3) == KEEP
    assert judge("Sell the car or keep it and", "user", 7).reason.startswith("turn 7 (user)")


def test_an_answer_of_the_other_speaker_is_whole(judge) -> None:
    assert judge("no it doesn’t", "user", 7) == KEEP
    assert judge("I'd buy it if it doesn’t", "user", 7).reason.startswith("turn 7 (user)")
    assert judge("i know where it comes from", "user", 7) == KEEP
    assert judge("Great, then I'll call you from", "user", 7).reason.startswith("turn 7 (user)")


def test_languages_without_full_stops_are_left_alone(judge) -> None:
    assert judge("แล้วโทรหาธนาคารวันนี้ and", at=8, language="th") == KEEP


def test_the_reason_repeats_no_address_and_no_number(judge) -> None:
    assert judge(
        "Write to maria@example.org and", at=8
    ).reason == "turn 8 (assistant): 'Write to … and' breaks off in a sentence".replace("'Write", "'…Write")
    assert "555" not in judge("Call 202 555 0147 and", at=8).reason
