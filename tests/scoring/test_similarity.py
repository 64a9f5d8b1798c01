"""Which conversations resemble each other: what their words share, in whatever order they are compared."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.models import Conversation, Turn
from convoforge.planning.quality import MIN_ALIKE
from convoforge.scoring.similarity import Signed, SimilarityIndex, sign

BASE = (
    "I put $4,500 aside last spring, and I cannot tell whether waiting is patience or fear.",
    "What would you lose in 12 months if nothing happened at all? Write that number down first, then we look at the rest.",
)


def talk(*turns: str) -> Conversation:
    return Conversation(tuple(Turn(("user", "assistant")[n % 2], text) for n, text in enumerate(turns)))


def pairs_of(*batches: list[Signed]) -> dict[frozenset[int], float]:
    """The pairs found when conversations come in batches, each compared with those before."""
    held: list[Signed] = []
    found = {}
    for batch in batches:
        index = SimilarityIndex(batch)
        for one in held:
            index.compare(one)
        found.update({frozenset((one, other)): similarity for one, other, similarity in index.pairs()})
        held += batch
    return found


def signed(conversations: list[Conversation]) -> list[Signed]:
    return [Signed(n, (1, n % 3, f"{n:03}"), made) for n, made in enumerate(sign(conversations))]


def test_digits_case_and_punctuation_make_no_difference_and_other_words_do() -> None:
    numbers = talk(BASE[0].replace("4,500", "17,200.50"), BASE[1].replace("12", "3"))
    case = talk(BASE[0].upper(), BASE[1].replace("?", " …?!").replace(" ", "\n "))
    other = talk("My parcel never came, and nobody at the desk knows where it went.", "Give me its number, and I ask the driver.")
    found = pairs_of(signed([talk(*BASE), numbers, case, other]))
    assert found == dict.fromkeys(map(frozenset, ((0, 1), (0, 2), (1, 2))), 1.0)


def test_scripts_without_spaces_are_compared_by_their_letters() -> None:
    words = "每个月我都想存一点钱，可是到了月底总是什么也没有剩下，我不知道该从哪里开始。"
    found = pairs_of(
        signed([talk(words), talk(words.replace("月底", "年底")), talk("今天的天气很好，我们去公园散步，然后在湖边喝茶看书。")])
    )
    assert [*found] == [frozenset((0, 1))]
    assert 0.5 < found[frozenset((0, 1))] < 0.95


def test_the_estimate_is_near_the_share_of_runs_that_both_have() -> None:
    rng = Random(1)
    words = [f"w{chr(97 + n % 26)}{chr(97 + n // 26)}" for n in range(400)]
    for kept in (0.7, 0.8, 0.9):
        text = rng.choices(words, k=300)
        changed = [word if n % 300 < 300 * kept else rng.choice(words) for n, word in enumerate(text)]
        runs = [{tuple(some[n : n + 5]) for n in range(296)} for some in (text, changed)]
        exact = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
        [estimate] = pairs_of(signed([talk(" ".join(text)), talk(" ".join(changed))])).values()
        assert abs(estimate - exact) < 0.13


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 3), min_size=2, max_size=12), st.data())
def test_the_pairs_are_the_same_in_whatever_order_and_batches_conversations_come(
    families: list[int], data: st.DataObject
) -> None:
    rng = Random(3)
    texts = [[f"{chr(97 + f)}{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(60)] for f in range(4)]
    conversations = []
    for family in families:
        text = list(texts[family])
        for place in rng.sample(range(60), 3):
            text[place] = f"x{rng.choice('abcdef')}"
        conversations.append(talk(" ".join(text)))
    made = signed(conversations)
    at_once = pairs_of(made)
    assert all(families[one] == families[other] and similarity >= MIN_ALIKE for (one, other), similarity in at_once.items())
    shuffled = data.draw(st.permutations(made))
    cut = data.draw(st.integers(0, len(made)))
    assert pairs_of(shuffled[:cut], shuffled[cut:]) == at_once


def test_what_is_shorter_than_a_run_or_no_valid_text_is_compared_as_a_whole() -> None:
    some = [talk("Yes.", "No, sir."), talk("yes", "no sir"), talk("Maybe."), talk("Half a \ud83d pair")]
    assert pairs_of(signed(some)) == {frozenset((0, 1)): 1.0}


def test_the_earliest_of_many_copies_are_kept_in_whatever_order_they_come_and_each_dataset_has_its_own() -> None:
    [made] = sign([talk(*BASE)])
    index = SimilarityIndex([Signed(99, (2, 9, ""), made)])
    index.compare(Signed(99, (2, 9, ""), made))  # its own older signature
    for number in reversed(range(40)):
        index.compare(Signed(number, (1, number, ""), made))
    index.compare(Signed(50, (2, 0, ""), made))
    assert sorted(other for _, other, _ in index.pairs()) == [*range(32), 50]


def test_a_thousand_copies_of_one_text_are_not_half_a_million_pairs() -> None:
    index = SimilarityIndex(signed([talk(*BASE)] * 1_000))
    found = [*index.pairs()]
    assert len(found) == sum(min(before, 32) for before in range(1_000))
    first = min((one.order, one.request_id) for one in signed([talk(*BASE)] * 1_000))[1]
    assert {one for one, _, _ in found} == set(range(1_000)) - {first}
    assert {one for one, other, _ in found if other == first} == set(range(1_000)) - {first}
