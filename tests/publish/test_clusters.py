"""What resembles each other stays in one split, from version to version."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import combinations, islice
from pathlib import Path
from random import Random

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from publish.test_from_the_ledger import NOW, Recorded
from sqlalchemy import delete, insert, update

from convoforge.dataset.acceptance import DatasetStatus
from convoforge.dataset.clusters import settle_groups
from convoforge.dataset.placing import read_settled_status
from convoforge.dataset.snapshot import make_snapshot
from convoforge.dataset.status import score_dataset
from convoforge.ledger import Ledger
from convoforge.ledger.runs import keep_spec
from convoforge.ledger.signatures import read_near_pairs
from convoforge.ledger.tables import answers, reviews, signatures
from convoforge.planning.spec import change_spec
from convoforge.publish.splits import assign, outline
from convoforge.settings import Settings

FRACTIONS = {"train": 0.6, "validation": 0.4}
GROUPS = "abcdef"

names = st.integers(0, 17).map("{:02}".format)
groups = {f"{number:02}": GROUPS[number % 6] for number in range(18)}


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(names, names).filter(lambda pair: pair[0] != pair[1]), max_size=16),
    st.lists(st.sets(names, min_size=1), min_size=2, max_size=4),
)
def test_no_two_that_are_alike_are_apart_and_none_moves_as_a_dataset_changes(
    pairs: list[tuple[str, str]], versions: list[set[str]]
) -> None:
    published: dict[str, str] = {}
    placed: dict[str, str] = {}
    for version in versions:
        alone = {name: groups[name] for name in sorted(version)}
        joined, torn = settle_groups(pairs, alone, published, placed)
        assert not torn.keys() & published.keys()
        held = {name: joined.get(name, group) for name, group in alone.items() if name not in torn}
        assert held == {**held, **{name: group for name, group in published.items() if name in held}}
        plan = assign(outline((group, ()) for group in held.values()), FRACTIONS, seed=7, placed=placed)
        placed |= plan.groups
        published |= held
        assert not any(placed[held[one]] != placed[held[other]] for one, other in pairs if {one, other} <= held.keys())
        assert all(placed[published[one]] == placed[published[other]] for one, other in pairs if {one, other} <= published.keys())


class Grown(Recorded):
    """Sixty conversations of five families: those of one are alike to about two thirds."""

    def __init__(self, data: Path, ledger: Ledger) -> None:
        quality = {"filters": [], "near_duplicates": {"threshold": 0.9, "cluster": 0.45}}
        super().__init__(data, ledger, "advice", "template", 36, quality=quality)
        self.all = self.plan.cells
        rng = Random(5)
        words = [f"{a}{b}{c}" for a in "bdfglmn" for b in "aeiou" for c in "dklmnrst"]
        families = [rng.choices(words, k=100) for _ in range(12)]
        for number in range(36):
            text = list(rng.choice(families))
            for place in rng.sample(range(0, 100, 12), 4):
                text[place] = rng.choice(words)
            said = [" ".join(text[n : n + 10]) for n in range(0, 100, 10)]
            self.answer(number, [{"role": ("user", "assistant")[n % 2], "content": one} for n, one in enumerate(said)])

    def publish_cells(self, which: range) -> dict[int, str]:
        """The split of each conversation of a version, by request."""
        self.plan = replace(self.plan, cells=tuple(self.all[n] for n in which))
        path = Path(str(self.publish().path))
        ids = {cell.topic: n + 1 for n, cell in enumerate(self.all)}
        files = [(file, pl.read_parquet(file, columns=["topic", "split_group"])) for file in (path / "data").glob("*.parquet")]
        return {ids[topic]: file.name.split("-")[0] for file, rows in files for topic in rows["topic"]}


def test_no_near_copy_is_in_another_split_over_three_growing_versions(tmp_path: Path, database_url: str) -> None:
    with Ledger(database_url) as ledger:
        grown = Grown(tmp_path / "data", ledger)
        pairs = [(one.request_id, one.other_id) for one in ledger.read(read_near_pairs, grown.dataset, 0.45)]
        seen: dict[int, str] = {}
        left_out = 0
        for which in (range(4, 20), range(28), range(8, 36)):
            found = grown.publish_cells(which)
            assert set(found.values()) == {"train", "validation"}
            apart = [pair for pair in combinations(sorted(found), 2) if pair in pairs and found[pair[0]] != found[pair[1]]]
            assert not apart
            assert seen == {**seen, **{number: split for number, split in found.items() if number in seen}}
            seen |= found
            left_out += len(which) - len(found)
    assert len(pairs) > 60
    assert sum(split == "validation" for split in seen.values()) >= 3


def test_where_a_conversation_has_no_place_in_a_split_its_cell_wants_another_one(tmp_path: Path) -> None:
    def talk(number: int) -> list[dict[str, str]]:
        words = ("".join("abcdefghij"[int(digit)] for digit in f"{number + 1}{at:02}") for at in range(100))  # digits are masked
        turns = enumerate(" ".join(islice(words, 10)) for _ in range(10))
        return [{"role": ("user", "assistant")[at % 2], "content": said} for at, said in turns]

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        quality = {"filters": [], "near_duplicates": {"threshold": 0.9, "cluster": 0.4}}
        halves = {"splits": {"train": 0.5, "validation": 0.5}}
        made = Recorded(tmp_path / "data", ledger, "advice", "template", 7, quality=quality, publish=halves)
        plan = made.plan
        for number in range(6):
            made.answer(number, talk(number))
        made.plan = replace(plan, cells=plan.cells[:6])
        files = (Path(str(made.publish().path)) / "data").glob("*.parquet")
        topics = [cell.topic for cell in plan.cells]
        splits = {file.name.split("-")[0]: topics.index(pl.read_parquet(file)["topic"][0]) for file in files}
        made.plan = plan
        made.answer(6, [*talk(splits["train"]), *talk(splits["validation"])])

        def read() -> DatasetStatus:
            return read_settled_status(ledger, plan, made.dataset, made.data)

        [torn] = read().rejected
        assert torn.reason.endswith("which is in another split")
        assert read().to_request == ((torn.draw.cell, 1),)
        ledger.write(keep_spec, made.dataset, plan.spec)
        shown = make_snapshot(ledger, Settings(data_dir=made.data), "advice", "anthropic")
        assert shown.summary.counts == read().counts, "pages say the same"
        accepted = {"request_id": torn.draw.request_id, "attempt": 1, "decision": "accept", "at": NOW}
        ledger.write(lambda connection: connection.execute(insert(reviews).values(accepted)))
        assert read().to_request == ((torn.draw.cell, 1),), "whoever would accept it"
        assert (made.publish().rows, made.publish().unchanged) == (6, True)


def test_a_row_stays_in_its_split_when_what_it_resembled_was_made_anew(tmp_path: Path, database_url: str) -> None:
    with Ledger(database_url) as ledger:
        grown = Grown(tmp_path / "data", ledger)
        halves = {"publish": {"splits": {"train": 0.5, "validation": 0.5}}}
        grown.plan = replace(grown.plan, spec=change_spec(grown.plan.spec, **halves))
        before = grown.publish_cells(range(36))
        other = [["user" if n % 2 == 0 else "assistant", " ".join(f"other{n}{m}" for m in range(10))] for n in range(10)]
        anew = {"turns": json.dumps(other), "conversation_id": "anew", "rubric": None}
        ledger.write(lambda connection: connection.execute(update(answers).where(answers.c.request_id <= 24).values(anew)))
        ledger.write(lambda connection: connection.execute(delete(signatures).where(signatures.c.request_id <= 24)))
        score_dataset(ledger, grown.plan, grown.dataset)
        found = grown.publish_cells(range(24, 36))
    assert found == {number: before[number] for number in range(25, 37)}
