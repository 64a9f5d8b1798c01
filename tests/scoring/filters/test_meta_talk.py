"""Talk about itself and the task, in whatever words; a client who talks of machines, or of a conversation that it had, is none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

OF_ITSELF = [
    "Being an AI, I have no stake in it.", "I am only a language model, so check the limit.", "My knowledge cut-off was last year.", "I was created by Anthropic to help with this.",
    "I can't recall any earlier sessions.", "Unlike a human, I don't tire of it.", "Models of my kind agree too readily.",
    "As bots go, I'm a patient one.", "Being made of code, I can't smell the gas.", "No human wrote this, but the rule is real.", "Each time we chat I start from a blank slate.", "I only know what I learned in training.",
    "Like most digital assistants I sound surer than I am.", "My answers are produced from patterns in text.",
]  # fmt: skip
OF_THE_TASK = [
    "Nobody is behind these lines, so ask a doctor.", "That's the end of my turn, yours now.", "You can stop the act now.", "The persona requested is a widow.", "I kept the two speakers apart.",
    "Below is the dialogue you asked for.", "That completes the ten-turn conversation.", "I hope this exchange meets your requirements.", "Shall I write another one with a calmer customer?",
    "[End of conversation]", "Note: all names and figures are invented.", "Word count: 212", "The persona would hesitate here.", "The user expresses regret, and the adviser asks one question.",
    "According to the prompt, I should push back once.", "This conversation illustrates how trust is earned.", "I've kept each turn between 100 and 400 characters.",
    "This was turn five of eight, so let's close.", "To stay within the word limit I'll leave out the tax.", "The scenario calls for frustration.", "I've followed the outline: greeting, problem, question.", "The adviser pauses here to let the client think.",
    "As the anxious parent in this example I'd ask about the fever.", "Speaking for the adviser: rates may fall.", "I was told to play a retired nurse.", "Stepping out of the scene for a second.", "No real names were used in this.",
    "That brings us to ten and leaves the ending complete.", "I should push back at least once here.", "I made the $84,000 up just now.", "In my capacity as the other voice here, I'd ask the plan.",
]  # fmt: skip
HONEST = [
    "Stand at the end of my street.", "He's behind these walls somewhere.", "Once the window is closed it's quiet.", "The color asked for is gone.", "Let's pretend for a moment that the rate stays.",
    "I asked a chatbot first, and it gave me a limit from four years ago.", "Everyone at work is in AI stocks.", "As an AI engineer I get half my pay in shares.", "My uncle Claude left me $31,000 and a canoe.",
    "Here is the conversation I had with the bank: they said no.", "Let me start this conversation over.", "I've noted our conversation on your order.", "In the scenario where rates rise you'd pay $250 more.",
    "The user manual says that blue is fine.", "Is there a person reading this?", "I was trained as a nurse.", "The prompt on the screen asks for the name.", "Three turns to the left, and it opens.",
    "In my capacity as trustee I need two signatures.", "Thanks for your prompt reply.", "That makes ten. Ten payments, then it's yours.", "It takes 8 to 16 characters, the new password.", "This is the point where you say no to him.",
    "I work as a role-play trainer for nurses.", "Version 2.4.17 broke it.", "Is there a word limit for the complaint form?", "The instructions say to let it dry for a day.", "In my last message I forgot the order number.",
    "The client now pays in advance.", "The purpose of this form is to prove where you live.", "I don't eat, I don't sleep, it's this divorce.", "I can't smell or taste anything since the flu.", "The developers gave me a discount code.",
    "It's out of character for him to shout.", "I'm meant to act as a guarantor for my son's flat.", "The topic was given to the lawyer.", "Good prompt service, thank you!", "The whole story is invented by the insurer.",
]  # fmt: skip


@pytest.mark.parametrize("text", [*OF_ITSELF, *OF_THE_TASK])
def test_talk_about_itself_or_the_task_is_dropped(judge, text) -> None:
    found = judge(text)
    assert found.verdict == "drop"
    assert found.reason.startswith("turn 4 (assistant): '")
    assert found.reason.endswith("is talk about itself or the task")


@pytest.mark.parametrize("role", ["user", "assistant"])
@pytest.mark.parametrize("text", OF_THE_TASK)
def test_either_may_give_the_task_away(judge, text, role) -> None:
    assert judge(text, role).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_machines_and_conversations_may_be_talked_about(judge, text) -> None:
    assert judge(text, "user") == KEEP
