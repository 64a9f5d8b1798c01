"""What holds for every filter that looks at what is said: no text breaks it, its reasons can be read, the simulator passes."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, ConversationRequest, Turn
from convoforge.planning.quality import FilterChoice
from convoforge.planning.templates import Library
from convoforge.scoring import KEEP, ScoringContext
from convoforge.scoring.filters.grammar import read_grammar
from convoforge.scoring.registry import find_filters
from convoforge.settings import ROOT
from convoforge.simulator.dialogue import write_conversation

FILTERS = find_filters([FilterChoice(name=name) for name in ("meta_talk", "echo", "refusals", "insults")])
LIBRARY = Library.at(ROOT / "configs")
HINTS = [hint for name in ("meta_talk", "refusals", "insults") for one in read_grammar(name) for hint in one.hints]
PARTS = st.one_of(
    st.sampled_from(HINTS),
    st.text(max_size=8),
    st.sampled_from(["you're", "I", "can't", "as an", "\n", ".", "\u2019", "with that"]),
)
conversations = st.lists(st.lists(PARTS, max_size=12).map(" ".join), max_size=5).map(
    lambda drawn: Conversation(tuple(Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(drawn)))
)


@given(conversations)
def test_any_text_gets_a_verdict_with_a_reason_of_one_short_line(drawn: Conversation) -> None:
    for one in FILTERS:
        found = one.result(drawn, ScoringContext(brief="as an AI you can't"))
        assert (found.verdict == "keep") == (found.reason == "")
        assert len(found.reason) <= 120
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", found.reason)


@pytest.mark.parametrize("name", LIBRARY.names())
@given(seed=st.integers(0, 100_000), persona=st.sampled_from(LIBRARY.list_personas()))
def test_what_the_simulator_makes_of_a_brief_passes(name: str, seed: int, persona: str) -> None:
    template, speaker = LIBRARY.template(name), LIBRARY.persona(persona)
    request = ConversationRequest(
        template=name, persona=persona, emotion="fear", topic="market volatility", tier=template.tiers[0]
    )
    turns = write_conversation(template.render(request, speaker, seed).user, seed)
    drawn = Conversation(tuple(Turn(turn["role"], turn["content"]) for turn in turns))  # type: ignore[arg-type]
    for one in FILTERS:
        assert one.judge(drawn, ScoringContext(brief=f"{template.text}\n{speaker.text}")) == KEEP, one.name
