"""Control tokens, and tags of tools and thinking, in any template's dialect."""

from __future__ import annotations

import pytest

from convoforge.scoring import KEEP

FAULTS = [
    "The match comes first.<|im_end|>", "<|start_header_id|>user", "Wait ten days. [/INST]", "<<SYS>> Be kind.", "</s>", "<｜User｜>And then?",
    "<start_of_turn>model Wait.", "ok <eos>", "[EOS] Wait.", "<think>He is worried.</think> Wait.", "</thinking> Wait.", '<invoke name="refund">',
    '<tool_call>{"name": "refund"}</tool_call>', "<|im_en", "we wait |im_end| then", "eot_id Wait.", "Wait.\n\nHuman: And then?", "▁Wait▁ten▁days",
    "[Tool: lookup_order]", "### Response:\nWait.", "&lt;|endoftext|&gt;", "(internal: mention the match) Wait.", "functions.refund({})",
    "Thinking: the client is worried, so I should be brief.",
]  # fmt: skip
HONEST = [
    "If the rate is < 5 percent, the match comes first; if it's > 8, the loan.", "The screen says <device not found>.", "Press [OK] for ten seconds.",
    "I |think| those bars are the keyboard's.", "Human error, most likely.", "Use the tool from the box: a key.", "At the end of the turn it stops.",
    "I keep thinking about the house. Thinking, thinking.", "My system is simple: a user name on a note.", "He wrote '[sic]' beside it.", "<3",
    "One thought: a second card costs nothing.",
]  # fmt: skip


@pytest.mark.parametrize("text", FAULTS)
def test_a_control_token_is_dropped(judge, text) -> None:
    assert judge(text).verdict == "drop"


@pytest.mark.parametrize("text", HONEST)
def test_brackets_and_bars_of_people_are_kept(judge, text) -> None:
    assert judge(text, "user") == KEEP


def test_the_reason_names_the_turn_and_the_token(judge) -> None:
    assert judge("No, thank you.<|im_end|>").reason == "turn 4 (assistant): '<|im_end|>' is a control token of a chat template"
