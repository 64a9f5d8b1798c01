"""Labels of speakers, and transcripts, inside a turn; a colon after other words is none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    "Optometrician: Read the third line.", "r: is it due? s: in may, yes. r: and the rest?", "Letting agent: The keys are at the desk.",
    "Choir member: I paid in March already.", "Voice 2: Try the other door.", "Waiter, across the room: We close at ten.", "Tutor » Read it once more.",
    "User: what does it cost?", "**Adviser:** About $400.", "[Client] I'm worried.", "Agent (calm): let me look.", "CUSTOMER >> it's red", "Assistant — the match comes first.",
    "Fine. Client: and the fee? Adviser: none.", "Rosa: I want out of it today.", "Financial Advisor: let's see.", "[10:32] Support rep: hello", "USER\nIt's red.\nAGENT\nSince when?",
    "Q: Is it taxed?\nA: Yes.", "Me: I want out. Him: not yet.", "A: I'm scared. B: Of what? A: The number.", "Turn 5 (assistant): wait.", "The adviser nods and says to wait.",
    "Berater: Guten Tag", "用户：你好", "The bank decides.\n— The Cautious Fiduciary", '"Wait," he said. You keep the rest.', "Agent 2 has joined.", "Anxious Gardener: again?",
    "Adviser's voice: pay the card first.", ">> support: the router is on its way", "From the client: I never agreed to it.", "Q - Is it taxed? A - It is, at 10 percent.", "System: conversation started.", "Consultant | It takes two days.",
    "A says: sell. B says: keep it.",
    "Shopkeeper: We've sold the last one this morning.", "Policyholder, annoyed: I sent the form twice already.", "(Tenant) The heating has been off since Friday.", "{Seller} It was serviced in May.",
    "mom: did you eat? me: yes, at noon. mom: and your brother?", "S1: I'd like to give notice. S2: Then do it in writing.", 'The customer asked, "How long?" The agent replied, "Two days."',
    "You => is it open\nShop => until six", "Reply 2 (agent): It was sent on Monday.", "Agent 14> one moment please", "Help desk // We have reset the line.",
]  # fmt: skip
HONEST = [
    "Best friend: The one who helps you move.", "Bad manager: Knows it all already.",
    "S1: the old switch. S2: the new one.", "Old -> 2.4 GHz\nNew -> 5 GHz", "high: 61. low: 40. high: 59.",
    "One question: do I lose the match?", "Short answer: no.", "My adviser: a nice man. My brother: less nice.", "Rent: 1,150. Food: 400.", "Me: 52. Husband: 55.", "Dear Support: it broke.",
    "Roth IRA: $7,000. 401(k): $9,400.", "Update: it went red.", "Option A: sell. Option B: wait.", 'The letter says "Dear Client:" and then nothing.', "Human nature, I guess.",
    "Monday: nothing. Tuesday: nothing.", "Ask them: 'Is it vested?'", "The client before me paid less.", "8:14 Monday: it went off.",
    "Reminder: The form is due on Friday.", "Printer: The red one is out of ink.", "(Quiet) It hums all the same.", "Q1: Sales were up. Q2: They fell.", "mon: rain. tue: sun. wed: rain.",
    'The agent asked, "How long?" and I said two days.', "settings -> network\nthen -> reset", "menu -> network -> reset\nmenu -> sound -> off", "Owner -> tenant notice is sixty days.",
    "From the agent: nothing, for three weeks.", "System: Windows 11, if that matters.", "The sign says: push. The other one says: pull.",
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_label_is_dropped(judge, text) -> None:
    assert judge(text, persona="Anxious Gardener").verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_a_colon_is_kept(judge, text) -> None:
    assert judge(text, "user") == KEEP


def test_a_client_may_tell_of_others_and_an_assistant_not_of_itself(judge) -> None:
    assert judge("The client says it's their system, so I wait ninety days.", "user") == KEEP
    assert judge("The adviser says I should wait.", "user") == KEEP
    assert judge("The adviser says to wait until spring.").verdict == "drop"
    assert judge("The client hesitates before the figure.", "user").verdict == "drop"
