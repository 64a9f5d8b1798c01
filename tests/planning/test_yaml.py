"""YAML that its readers do not agree on is refused, and a file is found by its name in either Unicode form."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml

from convoforge.errors import ConfigError
from convoforge.planning.config_files import check, read_yaml
from convoforge.planning.spec import DatasetSpec, load_spec
from convoforge.planning.spec_values import SpecSection
from convoforge.planning.templates import Library

SPEC = """
name: mine
model: claude-sonnet-5-5
templates: [advice]
axes: {persona: [A, B], emotion: [Fear], topic: [x]}
"""


def read(tmp_path: Path, text: str) -> Any:
    path = tmp_path / "one.yaml"
    path.write_text(text)
    return read_yaml(path)


@pytest.mark.parametrize(
    ("written", "right"),
    [
        ("010", "10"),
        ("-012", "-12"),
        ("+07", "7"),
        ("00", "0"),
        ("09", "9"),
        ("0_10", "10"),
        ("0o10", "8"),
        ("1:00", "60"),
        ("1:30:15", "5415"),
        ("-1:00", "-60"),
        ("20:30.15", "1230.15"),
    ],
)
def test_a_number_that_is_read_in_two_ways_is_refused(tmp_path: Path, written: str, right: str) -> None:
    for text, place in (
        (f"per_cell: {written}", "line 1, column 11"),
        (f"limits:\n  window_seconds: {written}\n", "line 2, column 19"),
        (f"axes:\n- {written}\n", "line 2, column 3"),
        (f"{written}: x", "line 1, column 1"),
        (f"a: {{b: [1, {written}]}}", "line 1, column 12"),
    ):
        with pytest.raises(ConfigError) as told:
            read(tmp_path, text)
        message = str(told.value)
        assert message.startswith(f"{tmp_path}/one.yaml: {place}: {written} is ")
        assert message.endswith(f': write {right}, or "{written}" in quotes')
        assert "\n" not in message


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("10", 10),
        ("0", 0),
        ("-3", -3),
        ("1_000", 1000),
        ("0.5", 0.5),
        ("0x1f", 31),
        ('"010"', "010"),
        ("'1:00'", "1:00"),
        ("10.0.0.1", "10.0.0.1"),
        ("007 agents", "007 agents"),
        ("a:1", "a:1"),
        ("true", True),
        ("False", False),
        ('"no"', "no"),
        ("null", None),
    ],
)
def test_everything_else_is_what_it_looks_like(tmp_path: Path, written: str, meant: object) -> None:
    assert read(tmp_path, f"a: {written}") == {"a": meant}
    assert type(read(tmp_path, f"a: {written}")["a"]) is type(meant)


@pytest.mark.parametrize("word", ["yes", "No", "ON", "off"])
def test_a_bare_word_is_a_switch_where_a_switch_belongs(tmp_path: Path, word: str) -> None:
    spec = load_spec(written(tmp_path, f"{SPEC}limits: {{queue: {word}}}\ngeneration: {{structured: {word}}}"), tmp_path)
    assert spec.limits.queue is spec.generation.structured is (word in ("yes", "ON"))
    assert type(spec.limits.queue) is bool


def test_a_bare_word_is_a_word_where_a_word_belongs(tmp_path: Path) -> None:
    class Thinks(SpecSection):
        thinking: Literal["off", "on"] = "on"

    value = check(Thinks, read(tmp_path, "thinking: off")).thinking
    assert (value, type(value)) == ("off", str)
    assert check(Thinks, read(tmp_path, 'thinking: "off"')).thinking == "off"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"axes": "{persona: [A, No], emotion: [Fear], topic: [x]}"},
            'axes.persona[1]: No without quotes .* write "No" in quotes',
        ),
        ({"parameters": "{complexity: off}"}, 'parameters.complexity.*: off .* false .* write false, or "off" in quotes'),
        ({"per_cell": "yes"}, "per_cell: expected a whole number"),
        ({"model": "on"}, 'model: on without quotes .* write "on" in quotes'),
    ],
)
def test_a_bare_word_that_may_mean_either_is_refused(tmp_path: Path, changes: dict[str, str], message: str) -> None:
    lines = {**{line.partition(": ")[0]: line.partition(": ")[2] for line in SPEC.strip().splitlines()}, **changes}
    import re

    with pytest.raises(ConfigError, match=message.replace("[1]", re.escape("[1]"))):
        load_spec(written(tmp_path, "\n".join(f"{key}: {value}" for key, value in lines.items())), tmp_path)


def test_a_spec_that_was_kept_is_the_same(tmp_path: Path) -> None:
    spec = load_spec(written(tmp_path, f"{SPEC}limits: {{queue: no}}\nbudget: {{run_usd: 0.25}}"), tmp_path)
    assert DatasetSpec.from_text(spec.text()) == spec


def written(tmp_path: Path, text: str) -> Path:
    (tmp_path / "mine.yaml").write_text(text)
    return tmp_path / "mine.yaml"


PERSONA = "Zoë Großmann-Ñandú"
FILE = "zoë-grossmann-ñandú.yaml"


def describe(folder: Path, file: str, name: str = PERSONA) -> None:
    (folder / "personas").mkdir(exist_ok=True)
    (folder / "personas" / file).write_text(yaml.safe_dump({"name": name, "description": "careful"}))


@pytest.mark.parametrize("file", ["NFC", "NFD"])
@pytest.mark.parametrize("name", ["NFC", "NFD"])
@pytest.mark.parametrize("inside", ["NFC", "NFD"])
def test_a_persona_is_found_in_either_form(tmp_path: Path, file: str, name: str, inside: str) -> None:
    describe(tmp_path, unicodedata.normalize(file, FILE), unicodedata.normalize(inside, PERSONA))
    assert Library.at(tmp_path).persona(unicodedata.normalize(name, PERSONA)).description == "careful"
    assert not Library.at(tmp_path).describes("Zoe Grossmann")


def test_two_files_of_one_name_are_named(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        describe(tmp_path, unicodedata.normalize(form, FILE))
    if len(list((tmp_path / "personas").iterdir())) == 1:
        pytest.skip("this file system knows one form")
    with pytest.raises(
        ConfigError, match=r"'zoe\\u0308-.*' and 'zo\\xeb-grossmann-\\xf1and\\xfa.yaml' are one name.*take one of"
    ):
        Library.at(tmp_path).persona(PERSONA)


@pytest.mark.parametrize(("there", "asked"), [("NFC", "NFD"), ("NFD", "NFC")])
def test_a_spec_is_found_in_either_form(tmp_path: Path, there: str, asked: str) -> None:
    folder = tmp_path / unicodedata.normalize(there, "Größe")
    folder.mkdir()
    (folder / unicodedata.normalize(there, "süß.yaml")).write_text(SPEC)
    assert load_spec(tmp_path / unicodedata.normalize(asked, "Größe/süß.yaml"), tmp_path).name == "mine"
    with pytest.raises(ConfigError, match="no spec at"):
        load_spec(tmp_path / "Größe" / "suß.yaml", tmp_path)


def test_a_file_of_a_name_alone_is_looked_for_among_the_specs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "datasets").mkdir()
    (tmp_path / "datasets" / "mine.yaml").write_text(SPEC)
    monkeypatch.chdir("/")
    assert load_spec("mine.yaml", tmp_path).name == "mine"


def test_a_config_folder_that_is_not_there(tmp_path: Path) -> None:
    for look in (lambda: load_spec("demo", tmp_path / "nope"), lambda: Library.at(tmp_path / "nope").template("advice")):
        with pytest.raises(ConfigError, match="there is no folder .*/nope: set CONVOFORGE_CONFIG_DIR"):
            look()
