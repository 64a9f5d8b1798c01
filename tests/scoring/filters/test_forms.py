"""What holds for every filter that looks at the form of turns: no text breaks it, its reasons can be read, the simulator passes."""

from __future__ import annotations

import re
from time import process_time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.planning.quality import FilterChoice
from convoforge.planning.templates import Library
from convoforge.scoring import KEEP, ScoringContext
from convoforge.scoring.registry import find_filters
from convoforge.settings import ROOT
from convoforge.simulator.dialogue import write_conversation

NAMES = (
    "empty_turns", "control_tokens", "broken_characters", "speaker_labels", "placeholders", "markup", "proportions", "broken_ends", "loops",
)  # fmt: skip
FILTERS = find_filters([FilterChoice(name=name) for name in NAMES])
SYMBOLS = list("<>|[](){}*_#:.,;\"'\\/%$&=-+?! \n\t\u200b\u2019") + ["User", "X", "name", "\\n", "a", "é", "€", "🙂", "```", "{{"]

OTHER_LANGUAGES = {
    "de": ("Ich habe 6.300 € auf dem Konto; mein Bruder sagt: „Behalt alles.“", "Die Karte kostet Sie etwa 115 € im Monat, und 3.800 € gehen heute auf die Karte."),
    "fr": ("J’ai 6 300 € d’épargne, plus bas que le mât, dit mon frère : « garde tout ».", "La carte vous coûte environ 115 € ; qu’est-ce qui casserait si le compte était vide ?"),
    "es": ("¿Qué hago primero? Mi hermano dice «todo».", "La tarjeta le cuesta unos 115 € al mes. ¡Pague 3.800 € hoy!"),
    "ru": ("У меня 6300 на счёте, а брат говорит «всё».", "Карта стоит около 115 в месяц; что сломается, если счёт пуст?"),
    "zh": ("我有六千三百美元的存款，不知道哪个更让我害怕。", "信用卡每个月要付大约115美元的利息。今天还3800美元。"),
    "ar": ("لدي 6300 دولار، ولا أعرف أيهما يخيفني أكثر؟", "البطاقة تكلفك حوالي 115 دولارا كل شهر."),
    "th": ("ฉันมีเงินเก็บ 6,300 ดอลลาร์", "งั้นเก็บ 2,500 ไว้ และจ่ายบัตร 3,800 วันนี้"),
}  # fmt: skip

texts = st.one_of(st.text(max_size=80), st.lists(st.sampled_from(SYMBOLS), max_size=40).map("".join))
conversations = st.lists(texts, max_size=7).map(
    lambda drawn: Conversation(tuple(Turn("assistant" if number % 2 else "user", text) for number, text in enumerate(drawn)))
)


@given(conversations)
def test_any_text_gets_a_verdict_with_a_reason_of_one_short_line(drawn: Conversation) -> None:
    for one in FILTERS:
        found = one.result(drawn, ScoringContext())
        assert (found.verdict == "keep") == (found.reason == "")
        assert len(found.reason) <= 120
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]", found.reason)


@pytest.mark.parametrize("topic", ["market volatility", "late delivery", "learning Spanish"])
@given(seed=st.integers(0, 100_000))
def test_simulated_conversations_pass(topic: str, seed: int) -> None:
    turns = write_conversation(f"Persona: First-Time Saver\nEmotion: Fear\nTopic: {topic}\nTier: edge_case", seed)
    drawn = Conversation(tuple(Turn(turn["role"], turn["content"]) for turn in turns))  # type: ignore[arg-type]
    for one in FILTERS:
        assert one.judge(drawn, ScoringContext(topic=topic)) == KEEP, one.name


def test_the_example_sentences_of_the_templates_pass() -> None:
    library = Library.at(ROOT / "configs")
    for name in library.names():
        strong = re.findall(r"Strong[^\"]*:\s+\"([^\"]+)\"", " ".join(library.template(name).system.split()))
        assert len(strong) == 2
        drawn = Conversation((Turn("user", strong[0]), Turn("assistant", strong[1])))
        assert [one.name for one in FILTERS if one.judge(drawn, ScoringContext()) != KEEP] == []


@pytest.mark.parametrize("language", OTHER_LANGUAGES)
def test_other_languages_pass(language: str) -> None:
    drawn = Conversation(
        tuple(Turn(role, text) for role, text in zip(("user", "assistant"), OTHER_LANGUAGES[language], strict=True))
    )  # type: ignore[arg-type]
    assert [one.name for one in FILTERS if one.judge(drawn, ScoringContext(language=language)) != KEEP] == []


@pytest.mark.parametrize("piece", ["[", "(", "\n", "\n- ", "A: b. ", "\\n", "-", "é", "1) a 2) b ", "Mr. ", "Q: a\n"])
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (20_000 // len(piece))
    drawn = Conversation((Turn("user", text), Turn("assistant", text)))
    for one in FILTERS:
        began = process_time()
        one.judge(drawn, ScoringContext())
        assert process_time() - began < 4, one.name  # a pattern that tries everything takes minutes
