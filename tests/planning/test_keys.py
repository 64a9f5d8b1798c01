"""The keys that decide what is paid again. The literal ones below may never change: a release that changed them would re-pay."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from convoforge.models import Prompt
from convoforge.planning.keys import cell_key, conversation_id, draw_key, request_fingerprint
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import DatasetSpec, Generation, change_spec
from convoforge.planning.templates import Library

CELL = {"persona": "Anxious Investor", "emotion": "Fear", "topic": "market volatility", "tier": "template", "template": "advice"}
PROMPT = Prompt(
    "You write conversations.", "Persona: Anxious Investor — “äöü” 日本\n\tTab and \x01 and \u2028.", "You are careful."
)
MODEL = "claude-sonnet-5-5"
SENT = "fc57e3712eac46f9a74706629ab8f2456f7bf2cb3918ffd45c0434e4d5ce475f"
ADAPTIVE = "0cf83e7db372fad8f5db1ae95f2952c60b25e717fef2e6050aaac3a0d31a808b"


def test_the_keys_are_those_of_every_release() -> None:
    cell = cell_key("financial-advice", "anthropic", CELL)
    assert cell == "b3d6f9bc650a34e23d654551015b12a7"
    assert draw_key(cell, 0) == "b3d6f9bc650a34e23d654551015b12a7/0"
    assert request_fingerprint(MODEL, PROMPT, Generation()) == SENT
    other = Generation(max_tokens=2048, structured=False, temperature=0.7)
    assert request_fingerprint(MODEL, PROMPT, other) == "bf290764fa6af20ecc51ec95d4b6db2391231560ea08777925596d524cb834bb"
    assert conversation_id(draw_key(cell, 0), SENT) == "2e4429cb68e15c15eb0752c9"


def test_a_planned_draw_has_the_keys_of_every_release(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    keys = {cell.emotion: (cell.key, [plan.fingerprint(cell, draw) for draw in range(2)]) for cell in plan.cells}
    assert keys == {
        "Calm": (
            "b66fdf90236f8dc42918d35fe82ae83f",
            [
                "c95646ce34bca2cc68091cdb35b91edcdf4dce2663bf5524fb51385f98594748",
                "e16f712096d7db627d73f80c7fcf2df04ad420e4c35b4a2fdfc5620569796afe",
            ],
        ),
        "Fear": (
            "ec4d9c67f2964adc3487e5db7e7be866",
            [
                "23399c290fb54b517d5b366bd484fc533814b47d4d7f327f8d30bfd165fec44a",
                "044488f8150517e01a4fbca055dd24f4fcbcf4323c5217ed6615aabbb06f843a",
            ],
        ),
    }


def test_a_cell_is_its_dataset_its_provider_and_its_values() -> None:
    keys = {
        cell_key("a", "anthropic", CELL),
        cell_key("b", "anthropic", CELL),
        cell_key("a", "simulator", CELL),
        *(cell_key("a", "anthropic", {**CELL, axis: "other"}) for axis in CELL),
    }
    assert len(keys) == 3 + len(CELL)
    assert cell_key("a", "anthropic", dict(reversed(CELL.items()))) == cell_key("a", "anthropic", CELL)


def test_what_is_sent_is_the_model_the_text_and_the_settings_that_are_not_the_defaults() -> None:
    assert request_fingerprint(MODEL, PROMPT, Generation(max_tokens=4096, structured=True, temperature=None)) == SENT
    others = {
        request_fingerprint("claude-haiku-5-5", PROMPT, Generation()),
        request_fingerprint(MODEL, Prompt("Other.", PROMPT.user), Generation()),
        request_fingerprint(MODEL, Prompt(PROMPT.system, "Other."), Generation()),
        request_fingerprint(MODEL, PROMPT, Generation(max_tokens=4095)),
        request_fingerprint(MODEL, PROMPT, Generation(structured=False)),
        request_fingerprint(MODEL, PROMPT, Generation(temperature=0)),
        request_fingerprint(MODEL, PROMPT, Generation(temperature=1)),
    }
    assert len(others | {SENT}) == 8


def test_the_system_turn_that_is_only_published_is_not_sent() -> None:
    assert request_fingerprint(MODEL, Prompt(PROMPT.system, PROMPT.user, "Another."), Generation()) == SENT
    assert request_fingerprint(MODEL, Prompt(PROMPT.system, PROMPT.user), Generation()) == SENT


@settings(deadline=None)
@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_text_does_not_run_from_one_part_into_the_next(a: str, b: str, c: str, d: str) -> None:
    same = (a, b) == (c, d)
    assert (
        request_fingerprint(MODEL, Prompt(a, b), Generation()) == request_fingerprint(MODEL, Prompt(c, d), Generation())
    ) is same


def test_another_prompt_for_the_same_draw_is_another_conversation() -> None:
    assert re.fullmatch(r"[0-9a-f]{24}", conversation_id("cell/0", SENT))
    assert len({conversation_id("cell/0", SENT), conversation_id("cell/1", SENT), conversation_id("cell/0", "other")}) == 3


TEMPLATE = {
    "version": 1,
    "description": "a small one",
    "tiers": ["template"],
    "parameters": {"complexity": {"description": "how hard", "default": "medium"}},
    "variation": {"opening": ["a question", "a number", "a doubt"]},
    "conversation_system": "Be kind.",
    "system": "You write.",
    "prompt": "{{ persona.name }}, {{ emotion }}, {{ topic }}, {{ parameters.complexity }}, {{ variation.opening }}",
}


def small_plan(folder: Path, text: str = "", **keys: object) -> Plan:
    (folder / "templates").mkdir(exist_ok=True)
    written = text or yaml.safe_dump({**TEMPLATE, **keys}, sort_keys=False)
    (folder / "templates" / "small.yaml").write_text(written)
    spec = DatasetSpec.model_validate(
        {
            "name": "small",
            "model": MODEL,
            "templates": ["small"],
            "axes": {"persona": ["Ann"], "emotion": ["Fear", "Calm"], "topic": ["debt"]},
        }
    )
    return make_plan(spec, Library.at(folder), "anthropic")


def fingerprints(plan: Plan) -> list[str]:
    return [plan.fingerprint(cell, draw) for cell in plan.cells for draw in range(3)]


@pytest.mark.parametrize(
    "keys",
    [{"version": 2}, {"description": "told otherwise"}, {"conversation_system": "Be careful."}, {"tiers": ["template", "more"]}],
)
def test_an_edit_that_changes_nothing_sent_pays_for_nothing(tmp_path: Path, keys: dict[str, object]) -> None:
    before = small_plan(tmp_path)
    after = small_plan(tmp_path, **keys)
    assert fingerprints(after) == fingerprints(before)
    assert [cell.key for cell in after.cells] == [cell.key for cell in before.cells]


def test_a_comment_pays_for_nothing(tmp_path: Path) -> None:
    before = small_plan(tmp_path)
    path = tmp_path / "templates" / "small.yaml"
    assert fingerprints(small_plan(tmp_path, text="# a comment\n" + path.read_text() + "\n# another\n")) == fingerprints(before)


@pytest.mark.parametrize(
    "keys", [{"system": "You write well."}, {"prompt": TEMPLATE["prompt"] + "."}, {"variation": {"opening": ["x", "y", "z"]}}]
)
def test_an_edit_of_what_is_sent_makes_every_draw_stale_and_no_cell_another(tmp_path: Path, keys: dict[str, object]) -> None:
    before = small_plan(tmp_path)
    after = small_plan(tmp_path, **keys)
    assert not set(fingerprints(after)) & set(fingerprints(before))
    assert [cell.key for cell in after.cells] == [cell.key for cell in before.cells]


def test_a_parameter_is_sent_only_where_it_differs_from_what_was_said_before(tmp_path: Path) -> None:
    plan = small_plan(tmp_path)
    spelled_out = make_plan(change_spec(plan.spec, parameters={"complexity": "medium"}), plan.library, "anthropic")
    assert fingerprints(spelled_out) == fingerprints(plan)
    high = make_plan(change_spec(plan.spec, parameters={"complexity": "high"}), plan.library, "anthropic")
    assert not set(fingerprints(high)) & set(fingerprints(plan))


@pytest.mark.parametrize("change", [{"per_cell": 2}, {"max_draws": 5}, {"quality": {"min_score": 8}}, {"budget": {"run_usd": 1}}])
def test_what_is_wanted_of_a_dataset_is_no_part_of_what_is_sent(tmp_path: Path, change: dict[str, object]) -> None:
    plan = small_plan(tmp_path)
    assert fingerprints(make_plan(change_spec(plan.spec, **change), plan.library, "anthropic")) == fingerprints(plan)


def test_thinking_off_is_what_every_release_sent_and_anything_else_is_another_request() -> None:
    assert request_fingerprint(MODEL, PROMPT, Generation(thinking="off", effort=None)) == SENT
    others = {
        request_fingerprint(MODEL, PROMPT, settings)
        for settings in (Generation(thinking="adaptive"), Generation(effort="low"), Generation(thinking="adaptive", effort="low"))
    }
    assert len(others | {SENT}) == 4
    assert request_fingerprint(MODEL, PROMPT, Generation(thinking="adaptive")) == ADAPTIVE
