"""Talk about itself and the task, in whatever words; a client who talks of machines, or of a conversation that it had, is none."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

OF_ITSELF = [
    "Being an AI, I have no stake in it.", "I am only a language model, so check the limit.", "My knowledge cut-off was last year.", "I was created by Anthropic to help with this.",
    "I can't recall any earlier sessions.", "Unlike a human, I don't tire of it.", "Models of my kind agree too readily.",
]  # fmt: skip
OF_THE_TASK = [
    "Below is the dialogue you asked for.", "That completes the ten-turn conversation.", "I hope this exchange meets your requirements.", "Shall I write another one with a calmer customer?",
    "[End of conversation]", "Note: all names and figures are invented.", "Word count: 212", "The persona would hesitate here.", "The user expresses regret, and the adviser asks one question.",
    "According to the prompt, I should push back once.", "This conversation illustrates how trust is earned.", "I've kept each turn between 100 and 400 characters.",
]  # fmt: skip
HONEST = [
    "I asked a chatbot first, and it gave me a limit from four years ago.", "Everyone at work is in AI stocks.", "As an AI engineer I get half my pay in shares.", "My uncle Claude left me $31,000 and a canoe.",
    "Here is the conversation I had with the bank: they said no.", "Let me start this conversation over.", "I've noted our conversation on your order.", "In the scenario where rates rise you'd pay $250 more.",
    "The user manual says that blue is fine.", "Is there a person reading this?", "I was trained as a nurse.", "The prompt on the screen asks for the name.", "Three turns to the left, and it opens.",
    "In my capacity as trustee I need two signatures.", "Thanks for your prompt reply.", "That makes ten. Ten payments, then it's yours.", "It takes 8 to 16 characters, the new password.", "This is the point where you say no to him.",
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
