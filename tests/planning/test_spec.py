"""A spec that cannot work is refused before anything else happens, on one line: what, where, what to do."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.errors import ConfigError
from convoforge.planning.config_files import DEEPEST_FILE, LARGEST_FILE, read_yaml
from convoforge.planning.spec import DatasetSpec, change_spec, judge_spec, load_spec, price_judge

GOOD = {
    "name": "small",
    "model": "claude-sonnet-5-5",
    "templates": "[advice]",
    "axes": "{persona: [A, B], emotion: [Fear], topic: [x]}",
}


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "spec.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def spec_with(folder: Path, **keys: str) -> DatasetSpec:
    """The small spec with some keys written otherwise, as YAML."""
    text = "\n".join(f"{key}: {value}" for key, value in {**GOOD, **keys}.items())
    return load_spec(write(folder, text), folder)


def refusal(folder: Path, text: str | bytes) -> str:
    """What is said of a file, which has to be one line that names the file."""
    path = write(folder, text)
    with pytest.raises(ConfigError) as caught:
        load_spec(path, folder)
    said = str(caught.value)
    assert said.startswith(f"{path}: ") or said.startswith(f"{path}:") and " line " in said
    assert "\n" not in said
    assert len(said) < 600
    return said.removeprefix(f"{path}:").strip()


def refusal_of(folder: Path, **keys: str) -> str:
    return refusal(folder, "\n".join(f"{key}: {value}" for key, value in {**GOOD, **keys}.items()))


def test_a_spec_needs_no_more_than_a_name_a_model_templates_and_axes(tmp_path: Path) -> None:
    spec = spec_with(tmp_path)
    assert spec.axes.tier == ("template",)
    assert (spec.per_cell, spec.max_draws, spec.quality.min_score) == (1, 3, 6)
    assert spec.limits.model_dump() == {
        "max_requests": 50,
        "window_seconds": 60,
        "pause_threshold": 0.9,
        "queue": True,
        "concurrency": 5,
        "max_wait_seconds": None,
        "input_tokens": None,
        "output_tokens": None,
    }
    assert spec.retry.model_dump() == {
        "max_attempts": 3,
        "base_delay_seconds": 1,
        "max_delay_seconds": 300,
        "jitter_seconds": 1,
        "patience_seconds": 300,
        "timeout_seconds": 120,
    }


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"per_cel": "2"}, "unknown key 'per_cel'; did you mean 'per_cell'? Known: allow_other_model, axes, budget, "),
        ({"Per_Cell": "2"}, "unknown key 'Per_Cell'; did you mean 'per_cell'?"),
        ({"limits": "{max_request: 5}"}, "unknown key 'limits.max_request'; did you mean 'max_requests'? Known: concurrency, "),
        ({"axes": "{persona: [A], emotion: [B], topic: [C], topics: [D]}"}, "unknown key 'axes.topics'; did you mean 'topic'?"),
        ({"prices": "{input: 1, output: 2, cache_reads: 1}"}, "unknown key 'prices.cache_reads'; did you mean 'cache_read'?"),
        ({"publish": "{split: {train: 1}}"}, "unknown key 'publish.split'; did you mean 'splits'? Known: group_by, splits."),
        ({"7": "x"}, "unknown key '[7]'. Known: "),
        ({"axes": "{persona: [A], emotion: [B]}"}, "'axes.topic' is missing"),
        ({"axes": "{persona: [], emotion: [B], topic: [C]}"}, "axes.persona: may not be empty"),
        ({"axes": "{persona: [' '], emotion: [B], topic: [C]}"}, "axes.persona[0]: may not be empty (found ' ')"),
        ({"axes": "{persona: A, emotion: [B], topic: [C]}"}, "axes.persona: expected a list, as in [a, b] (found 'A')"),
        ({"axes": "[a]"}, "axes: expected keys and values (found ['a'])"),
        ({"axes": "{persona: [A, B, A], emotion: [B], topic: [C]}"}, "axes.persona: 'A' stands twice"),
        (
            {"axes": "{persona: [Élan, élan], emotion: [B], topic: [C]}"},
            "axes.persona: 'Élan' and 'élan' are the same: take one out",
        ),
        (
            {"axes": "{persona: [a b, A  B], emotion: [B], topic: [C]}"},
            "axes.persona: 'a b' and 'A  B' are the same: take one out",
        ),
        ({"axes": '{persona: ["e\\u0301", "é"], emotion: [B], topic: [C]}'}, "are the same: take one out"),
        ({"axes": '{persona: ["a\\nb"], emotion: [B], topic: [C]}'}, "axes.persona[0]: 'a\\nb' holds a line break or a control"),
        ({"axes": f"{{persona: [{'a' * 201}], emotion: [B], topic: [C]}}"}, "axes.persona[0]: may have at most 200"),
        ({"templates": "[]"}, "templates: may not be empty"),
        ({"templates": "[advice, advice]"}, "templates: 'advice' stands twice"),
        ({"templates": "[advice, Advice]"}, "templates: 'advice' and 'Advice' are the same: take one out"),
        (
            {"templates": "[../advice]"},
            "templates[0]: '../advice' cannot be a name here: up to 64 letters, digits, - and _",
        ),
        ({"name": "../x"}, "name: '../x' cannot be a name here: up to 64 letters, digits, - and _"),
        ({"name": "a/b"}, "name: 'a/b' cannot be a name here"),
        ({"name": '"a\\n"'}, "name: 'a\\n' cannot be a name here"),
        ({"name": "x" * 65}, "cannot be a name here: up to 64 letters"),
        ({"name": "2024"}, "name: expected a text (found 2024)"),
        ({"model": "null"}, "model: nothing stands there: give a text"),
        ({"per_cell": "0"}, "per_cell: must be at least 1 (found 0)"),
        ({"per_cell": "true"}, "per_cell: expected a whole number (found true)"),
        ({"per_cell": '"5"'}, "per_cell: expected a whole number (found '5')"),
        ({"per_cell": "1.5"}, "per_cell: expected a whole number (found 1.5)"),
        ({"per_cell": "1" + "0" * 400}, "per_cell: must be at most 10000 (found 1000000"),
        ({"per_cell": "0x" + "f" * 9000}, "per_cell: must be at most 10000 (found a huge number)"),
        ({"max_draws": "0"}, "max_draws: must be at least 1 (found 0)"),
        ({"seed": "-1"}, "seed: must be at least 0 (found -1)"),
        ({"sample": "0"}, "sample: must be at least 1 (found 0)"),
        ({"quality": "{min_score: 11}"}, "quality.min_score: must be at most 10 (found 11)"),
        ({"quality": "{min_score: 0}"}, "quality.min_score: must be at least 1 (found 0)"),
        ({"limits": "{pause_threshold: 1}"}, "limits.pause_threshold: must be less than 1 (found 1)"),
        ({"limits": "{pause_threshold: 0}"}, "limits.pause_threshold: must be more than 0 (found 0)"),
        ({"limits": "{window_seconds: .nan}"}, "limits.window_seconds: must be a finite number (found "),
        ({"limits": "{window_seconds: .inf}"}, "limits.window_seconds: must be a finite number (found "),
        ({"limits": "{window_seconds: true}"}, "limits.window_seconds: expected a number (found true)"),
        ({"limits": "{window_seconds: 1" + "0" * 400 + "}"}, "limits.window_seconds: expected a number (found 10000000"),
        ({"limits": "{queue: 1}"}, "limits.queue: expected true or false (found 1)"),
        ({"limits": "5"}, "limits: expected keys and values (found 5)"),
        ({"limits": "null"}, "limits: expected keys and values (found null)"),
        ({"generation": "{max_tokens: 100}"}, "generation.max_tokens: must be at least 256 (found 100)"),
        ({"generation": "{temperature: true}"}, "generation.temperature: expected a number (found true)"),
        ({"budget": "{run_usd: -5}"}, "budget.run_usd: must be more than 0 (found -5)"),
        ({"budget": "{run_usd: 0}"}, "budget.run_usd: must be more than 0 (found 0)"),
        ({"budget": "{run_usd: true}"}, "budget.run_usd: true is no amount in US dollars, such as 5 or 0.25"),
        ({"budget": '{run_usd: "5"}'}, "budget.run_usd: '5' is no amount in US dollars, such as 5 or 0.25"),
        ({"budget": "{run_usd: .nan}"}, "budget.run_usd: must be a finite number (found "),
        ({"budget": "{run_usd: -.inf}"}, "budget.run_usd: must be a finite number (found "),
        ({"budget": "{run_usd: 0.00000001}"}, "budget.run_usd: Decimal input should have no more than 6 decimal places"),
        (
            {"budget": "{run_usd: 5, day_usd: 4}"},
            "budget: day_usd 4 is below run_usd 5: no run could spend that much; change one",
        ),
        ({"budget": "{run_usd: 5, dataset_usd: 4}"}, "budget: dataset_usd 4 is below run_usd 5: no run could spend that much"),
        ({"budget": "{alert_at: [0.5, 1.5]}"}, "budget.alert_at[1]: must be less than 1 (found 1.5)"),
        ({"budget": "{alert_at: 0.5}"}, "budget.alert_at: expected a list, as in [a, b] (found 0.5)"),
        ({"publish": "{splits: {train: 0.9, validation: 0.2}}"}, "publish: splits add up to 1.1, not to 1"),
        ({"publish": "{splits: {train: 0.9, validation: 0.10001}}"}, "publish: splits add up to 1.00001, not to 1"),
        ({"publish": "{splits: {}}"}, "publish.splits: may not be empty (found {})"),
        (
            {"publish": "{splits: {a b: 1}}"},
            "publish.splits.a b: 'a b' cannot be a name here: up to 32 letters, digits and _, a letter first",
        ),
        ({"publish": "{splits: {all: 1}}"}, "publish: a split cannot be called 'all', which `datasets` takes for all splits"),
        ({"publish": "{splits: {train: 0.5, Train: 0.5}}"}, "publish: 'train' and 'Train' are the same: take one out"),
        ({"publish": "{splits: {train: 1.5}}"}, "publish.splits.train: must be at most 1 (found 1.5)"),
        (
            {"publish": "{group_by: [persna]}"},
            "publish: group_by: unknown axis 'persna'; did you mean 'persona'? Known: emotion, persona",
        ),
        ({"publish": "{group_by: [persona, persona]}"}, "publish.group_by: 'persona' stands twice"),
        ({"publish": "{group_by: []}"}, "publish.group_by: may not be empty"),
        (
            {"parameters": "{since: 2024-01-01}"},
            "parameters.since: 2024-01-01 is neither text, number nor true/false: was it to be in",
        ),
        ({"parameters": "{since: [1]}"}, "parameters.since: [1] is neither text, number nor true/false"),
        ({"parameters": "{x: .nan}"}, "parameters.x: nan is no number to work with: give a finite one"),
        ({"parameters": "{a b: 1}"}, "parameters.a b: 'a b' cannot be a name here"),
        ({"quality": "{filters: [5]}"}, "quality.filters[0]: 5 is no filter: write its name, or NAME: ACTION"),
        (
            {"quality": "{filters: [{markup: dropp}]}"},
            "quality.filters[0]: markup: 'dropp' is no action: write drop, revise, mark or",
        ),
        ({"quality": "{filters: [{default: drop}]}"}, "quality.filters: 'default' takes no action: name the filters whose"),
        ({"quality": "{filters: [pii, {pii: mark}]}"}, "quality.filters: 'pii' stands twice"),
        ({"quality": "{allow: [emojis]}"}, "quality.allow[0]: must be 'markdown', 'lists', 'code',"),
        ({"language": "{user: de}"}, "language: a language for each role has two: write {user: de, assistant: en}"),
        (
            {"quality": "{filters: [{echo: redact}]}"},
            "quality.filters[0]: echo: only pii can be redacted: write drop, revise, mark",
        ),
        (
            {"license": "all rights reserved"},
            "license: 'all rights reserved' is no license: write an SPDX identifier, such as CC-BY-4.0, LicenseRef-NAME for one of",
        ),
        ({"license": "mti"}, "license: 'mti' is no license; did you mean 'MIT'? Or write an SPDX identifier, such as CC-BY-4.0"),
        (
            {"license": "CC-BY-4"},
            "license: 'CC-BY-4' is no license; did you mean 'CC-BY-4.0'? Or write an SPDX identifier, such as CC-BY-4.0",
        ),
        (
            {"quality": "{near_duplicates: {threshold: 0.5, cluster: 0.6}}"},
            "quality.near_duplicates: cluster 0.6 is above threshold 0.5: what is that much alike is dropped",
        ),
        (
            {"quality": "{near_duplicates: {threshold: 0.3}}"},
            "quality.near_duplicates.threshold: must be at least 0.4 (found 0.3)",
        ),
        ({"quality": "{near_duplicates: 0.6}"}, "quality.near_duplicates:"),
        (
            {"name": "own", "quality": "{near_duplicates: {datasets: [other, own]}}"},
            "quality.near_duplicates.datasets: 'own' is this dataset, which counts anyway: take it out",
        ),
        (
            {"quality": "{filters: [{markup: drop, pii: redact}]}"},
            "quality.filters[0]: {'markup': 'drop', 'pii': 'redact'} is no filter: write its name, or NAME: ACTION",
        ),
        ({"language": "english"}, "language: 'english' is no language: write its code of two or three letters"),
    ],
)
def test_what_cannot_work_is_said_on_one_line(tmp_path: Path, keys: dict[str, str], said: str) -> None:
    assert said in refusal_of(tmp_path, **keys)


@pytest.mark.parametrize("license", ["MIT", "cc-by-4.0", "GPL-3.0", "other", "LicenseRef-Acme-Internal"])
def test_a_license_is_an_spdx_identifier_one_of_your_own_or_other(tmp_path: Path, license: str) -> None:
    assert spec_with(tmp_path, license=license).license == license


@pytest.mark.parametrize("off", ["off", "false", "no", "null"])
def test_a_judge_and_near_duplicates_can_be_turned_off(tmp_path: Path, off: str) -> None:
    quality = spec_with(tmp_path, quality=f"{{judge: {off}, near_duplicates: {off}}}").quality
    assert (quality.judge, quality.near_duplicates) == (None, None)


def test_of_an_unknown_judge_no_prices_are_asked_for() -> None:
    judge = {"rubric": "training", "model": "claude-haiku-5-6"}
    axes = {axis: ["a"] for axis in ("persona", "emotion", "topic")}
    spec = DatasetSpec.model_validate({"name": "a", "model": "m", "templates": ["t"], "axes": axes, "quality": {"judge": judge}})
    with pytest.raises(ConfigError) as told:
        price_judge(judge_spec(spec, 256), batch=False)
    assert str(told.value).startswith(
        "quality.judge.model: no price is known for the model 'claude-haiku-5-6'; did you mean 'claude-"
    )
    assert "Change the name" in str(told.value)


@pytest.mark.parametrize(("written", "seen"), [("2024-01-01", "2024-01-01"), ("true", "true"), ("401", "401")])
def test_an_axis_value_that_yaml_takes_for_something_else_is_to_be_quoted(tmp_path: Path, written: str, seen: str) -> None:
    said = refusal_of(tmp_path, axes=f"{{persona: [A], emotion: [B], topic: [{written}]}}")
    assert said == f"axes.topic[0]: {seen} is no text: put it in quotes if it was meant as one"
    quoted = spec_with(tmp_path, axes=f'{{persona: [A], emotion: [B], topic: ["{written}"]}}')
    assert quoted.axes.topic == (written,)


def test_several_faults_are_told_at_once_but_not_hundreds(tmp_path: Path) -> None:
    said = refusal_of(tmp_path, per_cell="0", max_draws="0")
    assert said == "per_cell: must be at least 1 (found 0); max_draws: must be at least 1 (found 0)"
    many = refusal_of(tmp_path, axes=f"{{persona: [{', '.join(map(str, range(100)))}], emotion: [B], topic: [C]}}")
    assert many.endswith("; and 95 more")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "expected keys and values (name: …), found nothing"),
        (b"# nothing\n", "expected keys and values (name: …), found nothing"),
        (b"- a\n- b\n", "expected keys and values (name: …), found a list"),
        (b"just words", "expected keys and values (name: …), found 'just words'"),
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "cannot be read (not UTF-8 text)"),
        (b"name: a\x00b", "not valid YAML: unacceptable character #x0000"),
        (b"name: [a", "line 2, column 1: not valid YAML: did not find expected"),
        (b"name: a\nname: b\n", "line 2, column 1: not valid YAML: the key 'name' stands twice"),
        (b"limits:\n  queue: true\n  queue: false\n", "line 3, column 3: not valid YAML: the key 'queue' stands twice"),
        (b"--- 1\n--- 2\n", "not valid YAML: "),
        (b"a: !!python/object/apply:os.system [id]", "not valid YAML: could not determine a constructor"),
        (b"a: &x [1]\nb: *x\n", "line 2, column 4: not valid YAML: an alias (*x): write it out"),
        (b"a: 2024-13-45", "a value is not what it looks like: month must be in 1..12"),
        (b"a: !!bool maybe", "a value is not what it looks like: "),
        (b"a: !!timestamp soon", "a value is not what it looks like: "),
        (b"a: " + b"9" * 5000, "a value is not what it looks like: "),
        (b"? [a, b]\n: c", "not valid YAML: "),
        (
            b"a: " + b"[" * (DEEPEST_FILE + 1) + b"]" * (DEEPEST_FILE + 1),
            f"not valid YAML: more than {DEEPEST_FILE} levels deep",
        ),
    ],
)
def test_a_file_that_holds_no_keys_and_values_is_said_to_hold_none(tmp_path: Path, content: bytes, said: str) -> None:
    assert said in refusal(tmp_path, content)


def test_a_byte_order_mark_is_no_part_of_the_first_key(tmp_path: Path) -> None:
    assert read_yaml(write(tmp_path, b"\xef\xbb\xbfname: a")) == {"name": "a"}


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{chr(i + 1)}: &{chr(i + 1)} [{', '.join([f'*{chr(i)}'] * 9)}]\n" for i in range(ord("a"), ord("k"))
)


@pytest.mark.parametrize(
    "text",
    [LAUGHS, "a: " + "[" * 400_000, "a: " + "{x: " * 150_000, "? " * 400_000, "- " * 400_000, "x" * (LARGEST_FILE + 1), "<<: [" * 9999],
    ids=["aliases", "lists", "mappings", "questions", "dashes", "size", "merges"],
)  # fmt: skip
def test_a_file_made_to_explode_is_refused_in_little_time_and_memory(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    code = (
        "import sys; from pathlib import Path; from convoforge.planning.config_files import read_yaml; from convoforge.errors import ConfigError\n"
        "try: read_yaml(Path(sys.argv[1]))\n"
        "except ConfigError as error: print(len(str(error).splitlines()))"
    )

    def small() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (400_000_000, 400_000_000))
        resource.setrlimit(resource.RLIMIT_CPU, (5, 5))

    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], check=False, capture_output=True, text=True, preexec_fn=small, timeout=60
    )
    assert (done.stdout.strip(), done.returncode) == ("1", 0), done.stderr


def test_a_name_finds_a_file_of_the_datasets_folder_and_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "datasets"
    folder.mkdir()
    (folder / "small.yaml").write_text("\n".join(f"{key}: {value}" for key, value in GOOD.items()))
    assert load_spec("small", tmp_path).name == "small"
    assert load_spec(str(folder / "small.yaml"), tmp_path).name == "small"
    (tmp_path / "folder.yaml").mkdir()
    for name, said in {
        "smal": "unknown dataset 'smal'; did you mean 'small'? Known: small.",
        "../small": "'../small' is neither a dataset's name (letters, digits, - and _) nor a .yaml file",
        "": "'' is neither a dataset's name",
        "x" * 300: "unknown dataset",
        "gone.yaml": "no spec at 'gone.yaml': give a file that exists, or a name in ",
        "a\0.yaml": "no spec at 'a\\x00.yaml'",
        "~nobody-of-that-name/x.yaml": "no spec at '~nobody",
        str(tmp_path / "folder.yaml"): "no spec at ",
    }.items():
        with pytest.raises(ConfigError) as caught:
            load_spec(name, tmp_path)
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_folder_or_a_missing_file_is_said_to_be_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read \(Is a directory\)"):
        read_yaml(tmp_path)
    with pytest.raises(ConfigError, match=r"cannot be read \(No such file"):
        read_yaml(tmp_path / "gone.yaml")


def test_a_model_from_elsewhere_takes_the_place_of_the_files(tmp_path: Path) -> None:
    path = write(tmp_path, "\n".join(f"{key}: {value}" for key, value in GOOD.items()))
    assert load_spec(path, tmp_path).model == "claude-sonnet-5-5"
    assert load_spec(path, tmp_path, model="claude-haiku-5-5").model == "claude-haiku-5-5"
    path = write(tmp_path, "\n".join(f"{key}: {value}" for key, value in GOOD.items() if key != "model"))
    assert load_spec(path, tmp_path, model="claude-haiku-5-5").model == "claude-haiku-5-5"
    assert "'model' is missing" in refusal(tmp_path, path.read_bytes())


@pytest.mark.parametrize(
    ("written", "exact"), [("0.1", "0.1"), ("5", "5"), ("5.0", "5"), ("0.000001", "0.000001"), ("1.0e-3", "0.001")]
)
def test_a_budget_is_the_decimal_that_was_written(tmp_path: Path, written: str, exact: str) -> None:
    assert spec_with(tmp_path, budget=f"{{run_usd: {written}}}").budget.run_usd == Decimal(exact)


@settings(deadline=None)
@given(st.decimals(min_value="0.000001", max_value=1_000_000, places=6))
def test_no_budget_is_changed_by_being_read(amount: Decimal) -> None:
    spec = DatasetSpec.model_validate(
        {
            "name": "x",
            "model": "m",
            "templates": ["t"],
            "axes": {"persona": ["a"], "emotion": ["b"], "topic": ["c"]},
            "budget": {"run_usd": float(amount)},
        }
    )
    assert spec.budget.run_usd == amount


def test_two_specs_that_say_the_same_have_the_same_text(tmp_path: Path) -> None:
    first = spec_with(tmp_path, budget="{run_usd: 5, day_usd: 20}", limits="{window_seconds: 60}")
    again = spec_with(tmp_path, limits="{window_seconds: 60.0}", budget="{day_usd: 20.0, run_usd: 5.0} # a comment")
    assert first.text() == again.text()
    assert first.sha256() == again.sha256()
    assert first.sha256() != spec_with(tmp_path, seed="8").sha256()


def test_a_spec_comes_back_from_its_text(tmp_path: Path) -> None:
    spec = spec_with(
        tmp_path,
        budget="{run_usd: 0.1}",
        prices="{input: 0.4, output: 1.6}",
        parameters="{a: 1, b: 1.5, c: true, d: '1'}",
        axes="{persona: [Ä], emotion: [Fear], topic: [x]}",
        quality="{filters: [default, {markup: off}, {pii: mark}]}",
    )
    again = DatasetSpec.from_text(spec.text())
    assert again == spec
    assert [one.action for one in again.quality.filters] == [None, "off", "mark"]
    assert [type(value) for value in again.parameters.values()] == [int, float, bool, str]
    for off in ("off", "no", "null", "'off'"):
        spec = spec_with(tmp_path, quality=f"{{near_duplicates: {off}}}")
        assert spec.quality.near_duplicates is DatasetSpec.from_text(spec.text()).quality.near_duplicates is None
    json.loads(spec.text())
    with pytest.raises(ConfigError, match="kept by another version of convoforge: unknown key 'old'.*build the dataset again"):
        DatasetSpec.from_text(json.dumps({**json.loads(spec.text()), "old": 1}))


def test_a_spec_can_be_changed_in_parts_and_is_checked_again(tmp_path: Path) -> None:
    spec = spec_with(tmp_path, budget="{run_usd: 5, day_usd: 20}")
    changed = change_spec(spec, limits={"concurrency": 9}, budget={"run_usd": Decimal("0.1")}, model="claude-haiku-5-5")
    assert (changed.limits.concurrency, changed.limits.max_requests) == (9, 50)
    assert (changed.budget.run_usd, changed.budget.day_usd) == (Decimal("0.1"), Decimal(20))
    assert changed.model == "claude-haiku-5-5"
    assert spec.limits.concurrency == 5
    for change, said in (
        ({"limits": {"concurrency": 0}}, "limits.concurrency: must be at least 1"),
        ({"limit": {"concurrency": 1}}, "unknown key 'limit'; did you mean 'limits'?"),
        ({"budget": {"run_usd": 21}}, "day_usd 20 is below run_usd 21"),
        ({"prices": {"input": 1}}, "'prices.output' is missing"),
    ):
        with pytest.raises(ConfigError, match=said):
            change_spec(spec, **change)


def test_a_large_spec_is_read_in_a_moment(tmp_path: Path) -> None:
    topics = ", ".join(f"topic number {number}" for number in range(30_000))
    begun = time.process_time()
    spec = spec_with(tmp_path, axes=f"{{persona: [A], emotion: [B], topic: [{topics}]}}")
    assert len(spec.axes.topic) == 30_000
    assert time.process_time() - begun < 30


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8), st.sampled_from(sorted(DatasetSpec.model_fields)))  # fmt: skip
def test_whatever_stands_under_a_key_it_is_taken_or_refused_on_one_line(value: object, key: str) -> None:
    good = DatasetSpec.model_validate(
        {"name": "x", "model": "m", "templates": ["t"], "axes": {"persona": ["a"], "emotion": ["b"], "topic": ["c"]}}
    )
    try:
        changed = change_spec(good, **{key: value})
    except ConfigError as error:
        assert "\n" not in str(error)
    else:
        assert DatasetSpec.from_text(changed.text()) == changed
