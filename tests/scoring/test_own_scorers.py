"""Scorers of one's own: one file, named in a spec; what they say decides, and a mistake in one is a line."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.dataset.acceptance import judge_quality
from convoforge.errors import ConfigError
from convoforge.models import Conversation, Quality, Status, Turn
from convoforge.planning.quality import FilterAction, FilterChoice, QualityRule
from convoforge.scoring import FilterVerdict, Points, Rubric, Scorer, ScoringContext, scorer
from convoforge.scoring.filters import DEFAULT as ON
from convoforge.scoring.filters import FILTERS
from convoforge.scoring.registry import GROUP, OURS, _load_ours, find_filters, find_scorers
from convoforge.settings import ROOT

TALK = Conversation(tuple(Turn("assistant" if n % 2 else "user", f"Is it wise to hold bond {n}? " * 5) for n in range(10)))
DEFAULT = ("turns", "length", "structure")


def giving(result: Any, name: str = "one") -> Scorer:
    return scorer(name, version=1)(lambda _conversation, _context: result)


def quality_of(*results: Any) -> Quality:
    scorers = tuple(giving(result, f"s{number}") for number, result in enumerate(results))
    return Rubric(scorers).score(TALK, ScoringContext()).quality


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module into a project, and says how it is called. The project's folder is on nobody's path."""
    (tmp_path / "convoforge.toml").touch()
    (tmp_path / "deeper").mkdir()
    monkeypatch.chdir(tmp_path / "deeper")
    written = []

    def write(text: str) -> str:
        name = f"scorers_{tmp_path.name}_{len(written)}".replace("-", "_")
        (tmp_path / f"{name}.py").write_text(text)
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)


def test_the_example_of_the_readme_works(module: Callable[[str], str]) -> None:
    (example,) = [
        block for block in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL) if "@scorer" in block
    ]
    name = module(example)
    filters = find_filters([FilterChoice(name=f"{name}:on_topic")])
    rubric = Rubric(find_scorers([*DEFAULT, f"{name}:questions"]), filters)
    assert re.fullmatch(r"turns=1,length=1,structure=1,questions=1,filters=[0-9a-f]{8}", rubric.version)
    quality = rubric.score(TALK, ScoringContext(topic="bond yields")).quality
    assert (quality.score, quality.reasons, quality.rejection) == (10, (), None)
    other = rubric.score(TALK, ScoringContext(topic="gold")).quality
    assert other.rejection == ("drop", "on-topic: not a word of gold")
    assert judge_quality(other, 1) == (Status.DROPPED, "on-topic: not a word of gold")


def test_points_are_scaled_to_ten_by_the_sum_of_maxima_and_halves_go_up() -> None:
    assert quality_of(Points(5, 20)).score == 3
    assert quality_of(Points(4, 20, "few")).score == 2
    assert quality_of(Points(0, 3, "none")).score == 1
    assert quality_of(Points(3, 3), Points(0, 3, "none")).score == 5
    assert quality_of(FilterVerdict("keep")).score == 10


@given(st.lists(st.integers(1, 50).flatmap(lambda most: st.tuples(st.integers(0, most), st.just(most))), min_size=1))
def test_a_score_is_one_to_ten_and_ten_where_nothing_is_lost(points: list[tuple[int, int]]) -> None:
    score = quality_of(*(Points(*one) for one in points)).score
    assert 1 <= score <= 10
    exact = 10 * sum(one for one, _ in points) / sum(most for _, most in points)
    assert abs(score - max(exact, 1)) <= 0.5


def test_drop_goes_before_revise_and_both_before_the_score() -> None:
    kept, revise, drop = FilterVerdict("keep"), FilterVerdict("revise", "odd"), FilterVerdict("drop")
    assert judge_quality(quality_of(kept), 6) == (Status.ACCEPTED, "")
    assert judge_quality(quality_of(kept, revise), 6) == (Status.NEEDS_REVISION, "s1: odd")
    assert judge_quality(quality_of(revise, drop, Points(0, 1, "none")), 6) == (Status.DROPPED, "s1: drop")
    assert judge_quality(quality_of(Points(1, 2, "half")), 6) == (Status.NEEDS_REVISION, "score 5 is below 6")


def test_a_scorer_that_fails_or_returns_nonsense_is_named() -> None:
    for wrong in (None, 3, Points(4, 3), Points(-1, 3), Points(0, 0), FilterVerdict("maybe")):  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match=r"scorer 's0' returned .*: return Points"):
            quality_of(wrong)
    broken = scorer("broken", version=1)(lambda _conversation, _context: Points(1 // 0, 1))
    with pytest.raises(ConfigError, match=r"scorer 'broken' failed: ZeroDivisionError.*; nothing is lost"):
        Rubric((broken,)).score(TALK, ScoringContext())


def test_what_cannot_be_found_or_loaded_is_one_line(module: Callable[[str], str]) -> None:
    name = module("from convoforge.scoring import *\nplain = len\n@scorer('turns', version=2)\ndef mine(c, x): ...\n")
    for wrong, said in (
        ("lenght", "unknown scorer 'lenght'; did you mean 'length'? Known: length, structure, turns."),
        ("nowhere_at_all:one", "'nowhere_at_all:one' cannot be loaded: ModuleNotFoundError: No module named 'nowhere_at_all'"),
        (f"{name}:missing", f"'{name}:missing' cannot be loaded: AttributeError"),
        (f"{name}:plain", f"'{name}:plain' is no scorer: put @scorer"),
        (f"{name}:mine", f"'turns' and '{name}:mine' are both called 'turns': rename one"),
    ):
        with pytest.raises(ConfigError) as told:
            find_scorers(["turns", wrong])
        assert str(told.value).startswith("quality.scorers: ")
        assert said in str(told.value)
        assert "\n" not in str(told.value)


def test_ours_are_registered_as_those_of_other_packages_are() -> None:
    installed = {one.name: one.load() for one in entry_points(group=GROUP)}
    assert {name: installed[name] for name in OURS} == dict(OURS)


def test_a_package_registers_one_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "their_scorers-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: their-scorers\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\ntheirs = their_scorers:theirs\n")
    (tmp_path / "their_scorers.py").write_text(
        "from convoforge.scoring import Points, scorer\n@scorer('theirs', version=3)\ndef theirs(c, x): return Points(1, 1)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert Rubric(find_scorers(["theirs"])).version == "theirs=3"


@pytest.mark.parametrize("named", ["module", "entry point"])
def test_the_example_of_a_filter_works_by_where_it_lies_and_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    text = (ROOT / "examples" / "own_filter.py").read_text()
    choice = re.search(r'"(convoforge\S+:no_promises)": (revise)', text)
    assert choice
    name, action = choice.groups()
    if named == "entry point":
        info = tmp_path / "theirs-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Name: theirs\nVersion: 1\n")
        lines = re.findall(r"^    (\[\S+\.entry-points.*|no-promises = .*)$", text, re.MULTILINE)
        (info / "entry_points.txt").write_text("\n".join(lines).replace('project.entry-points."', "").replace('"', ""))
        monkeypatch.syspath_prepend(str(tmp_path))
        name = "no-promises"
    rubric = Rubric((), find_filters([FilterChoice(name=name, action=action)]))
    for said, status in (
        ("It's guaranteed to pay 9 percent.", Status.NEEDS_REVISION),
        ("Nothing is guaranteed here.", Status.ACCEPTED),
    ):
        talk = Conversation((Turn("user", "Is it safe?"), Turn("assistant", said)))
        assert judge_quality(rubric.score(talk, ScoringContext(topic="bonds")).quality, 1)[0] is status


def test_a_spec_chooses_what_becomes_of_what_a_filter_finds(module: Callable[[str], str]) -> None:
    name = module(
        "from convoforge.scoring import *\n@scorer('odd', version=1)\ndef odd(c, x): return FilterVerdict('drop', 'odd')\n"
    )

    def judged(action: FilterAction | None) -> Quality:
        return Rubric((), find_filters([FilterChoice(name=f"{name}:odd", action=action)])).score(TALK, ScoringContext()).quality

    assert (judged(None).rejection, judged(None).flags) == (("drop", "odd: odd"), ())
    assert judged("revise").rejection == ("revise", "odd: odd")
    assert (judged("mark").rejection, judged("mark").flags) == (None, ("odd",))
    assert judged("off") == Quality(10)
    versions = {
        Rubric((), find_filters([FilterChoice(name=f"{name}:odd", action=action)])).version for action in ("drop", "mark")
    }
    assert len(versions) == 2


def test_default_stands_for_the_filters_that_are_on_without_a_list_and_one_of_them_may_be_changed() -> None:
    assert [one.name for one in find_filters([FilterChoice(name="default")])] == list(ON)
    some = find_filters([FilterChoice(name="default"), FilterChoice(name="echo", action="off")])
    assert [one.name for one in some] == [name for name in ON if name != "echo"]
    assert find_filters([]) == ()
    assert [one.name for one in find_filters(QualityRule().filters)] == list(ON)
    with pytest.raises(ConfigError, match=r"quality.filters: unknown filter 'markupp'; did you mean 'markup'"):
        find_filters([FilterChoice(name="markupp")])


def test_the_versions_of_our_filters_are_those_of_their_files() -> None:
    assert {name: _load_ours(name).version for name in FILTERS} == dict(FILTERS)


@pytest.mark.server
def test_a_rubric_imports_none_of_our_filters_before_there_is_a_conversation() -> None:
    code = "import sys; from convoforge.planning.quality import QualityRule; from convoforge.scoring import *; "
    code += "from convoforge.scoring.registry import *; Rubric((), find_filters(QualityRule().filters)).version; "
    code += "sys.exit(any(name.startswith('convoforge.scoring.filters.') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.server
def test_the_first_conversation_of_a_process_is_searched_for_all_that_any_other_one_is() -> None:
    code = "from convoforge.planning.quality import *; from convoforge.scoring import *; from convoforge.models import *; "
    code += "from convoforge.scoring.registry import *; rubric = Rubric((), find_filters(QualityRule().filters)); "
    code += "talk = [Conversation((Turn('user', 'Mail a.b@mail.net, \ufffd [NAME]'),)) for _ in range(2)]; "
    code += "first, second = (rubric.score(one, ScoringContext()).quality for one in talk); assert first == second, first"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_what_gives_points_is_no_filter(module: Callable[[str], str]) -> None:
    wrong = "gives points and is no filter: name it under quality.scorers"
    with pytest.raises(ConfigError, match=f"quality.filters: 'turns' {wrong}"):
        find_filters([FilterChoice(name="turns", action="drop")])
    name = module("from convoforge.scoring import *\n@scorer('mine', version=1)\ndef mine(c, x): return Points(1, 1)\n")
    with pytest.raises(ConfigError, match=f"quality.filters: 'mine' {wrong}"):
        Rubric((), find_filters([FilterChoice(name=f"{name}:mine")])).score(TALK, ScoringContext())
