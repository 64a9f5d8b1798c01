"""The plan: deterministic, complete, checked to the last template before anything is paid, and quick."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from convoforge.errors import ConfigError
from convoforge.models import Usage
from convoforge.parsing import ANSWER_FORMAT
from convoforge.planning.model_facts import snapshot_facts
from convoforge.planning.plan import ANSWER_TOKENS, MAX_PLANNED, Plan, expected_usage, kept_text, make_plan, worst_cost_pico
from convoforge.planning.spec import DatasetSpec
from convoforge.planning.templates import Library
from convoforge.pricing import cost_pico

AXES = {
    "persona": ["Ann", "Bert", "Cleo"],
    "emotion": ["Fear", "Calm"],
    "topic": ["debt", "funds"],
    "tier": ["template", "edge_case"],
}

SONNET = snapshot_facts("claude-sonnet-5-5")


def template(folder: Path, name: str, tiers: list[str], **keys: Any) -> None:
    raw = {
        "version": 1,
        "description": "a small one",
        "tiers": tiers,
        "variation": {"line": ["one", "two", "three"]},
        "system": "You write.",
        "prompt": "{{ persona.name }}, {{ emotion }}, {{ topic }}, {{ tier }}, {{ variation.line }}, " + name,
        **keys,
    }
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "templates" / f"{name}.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))


def spec(**keys: Any) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {"name": "small", "model": "claude-sonnet-5-5", "templates": ["plain", "edge"], "axes": AXES, **keys}
    )


@pytest.fixture
def configs(tmp_path: Path) -> Path:
    template(tmp_path, "plain", ["template"])
    template(tmp_path, "edge", ["edge_case"])
    return tmp_path


def plan_of(configs: Path, **keys: Any) -> Plan:
    return make_plan(spec(**keys), Library.at(configs), "anthropic")


def refusal(configs: Path, **keys: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        plan_of(configs, **keys)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_axes_span_the_cells(configs: Path) -> None:
    plan = plan_of(configs)
    combinations = {(cell.persona, cell.emotion, cell.topic, cell.tier) for cell in plan.cells}
    assert len(plan.cells) == len(combinations) == len({cell.key for cell in plan.cells}) == 24
    assert {(cell.tier, cell.template) for cell in plan.cells} == {("template", "plain"), ("edge_case", "edge")}
    assert plan.planned == 24
    assert plan_of(configs, per_cell=3).planned == 72


def test_a_plan_is_the_same_each_time_and_the_seed_changes_its_order_only(configs: Path) -> None:
    first, again, other = plan_of(configs), plan_of(configs), plan_of(configs, seed=8)
    assert first.cells == again.cells
    assert [first.prompt(cell, 1) for cell in first.cells] == [again.prompt(cell, 1) for cell in again.cells]
    assert first.cells != other.cells
    assert set(first.cells) == set(other.cells)


def test_a_sample_is_spread_evenly_and_a_larger_one_keeps_it(configs: Path) -> None:
    small, large = plan_of(configs, sample=6), plan_of(configs, sample=12)
    assert len(small.cells) == 6
    assert large.cells[:6] == small.cells
    for axis, values in AXES.items():
        counts = Counter(getattr(cell, axis) for cell in small.cells)
        assert max(counts.values()) - min(counts.values()) <= 1
        assert set(counts) == set(values)
    assert refusal(configs, sample=25) == "sample: 25 cells are asked for, but the axes span only 24"


def test_several_templates_of_a_tier_are_cells_of_their_own(configs: Path) -> None:
    template(configs, "plain2", ["template", "edge_case"])
    plan = plan_of(configs, templates=["plain", "plain2", "edge"])
    assert len(plan.cells) == len({cell.key for cell in plan.cells}) == 48
    assert Counter((cell.tier, cell.template) for cell in plan.cells) == {
        ("template", "plain"): 12,
        ("template", "plain2"): 12,
        ("edge_case", "plain2"): 12,
        ("edge_case", "edge"): 12,
    }


def test_a_further_value_of_an_axis_leaves_the_keys_of_the_others(configs: Path) -> None:
    more = {**AXES, "topic": ["fees", "debt", "funds"]}
    assert {cell.key for cell in plan_of(configs).cells} < {cell.key for cell in plan_of(configs, axes=more).cells}


def test_every_template_gets_the_parameters_it_declares_and_no_other(configs: Path) -> None:
    parameter = {"size": {"description": "any", "values": ["low", "high"], "default": "low"}}
    template(configs, "edge", ["edge_case"], parameters=parameter, variation={}, prompt="{{ topic }} {{ parameters.size }}")
    plan = plan_of(configs, parameters={"size": "high"})
    for cell in plan.cells:
        assert plan.prompt(cell, 0).user.endswith("high") is (cell.template == "edge")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"templates": ["plain", "egde"]}, "unknown template 'egde'; did you mean 'edge'? Known: edge, plain."),
        ({"templates": ["plain"]}, "no template serves the tier 'edge_case'. Known: template."),
        (
            {"axes": {**AXES, "tier": ["template"]}},
            "template 'edge' serves only edge_case, none of this spec's tiers: add the tier or drop the template",
        ),
        ({"parameters": {"size": "low"}}, "parameters: no template of this spec declares 'size'. Known: none."),
        ({"model": "claude-sonet-5-5"}, "no price is known for the model 'claude-sonet-5-5'"),
        (
            {"limits": {"input_tokens": 1_000}},
            "limits.input_tokens: 1000 is smaller than one request needs (about 216 tokens at once; with pause_threshold 0.9 that",
        ),
        (
            {"limits": {"output_tokens": 11_999}},
            "limits.output_tokens: 11999 is smaller than one request needs (about 1200 tokens at once; with pause_threshold 0.9 that",
        ),
        ({"per_cell": 10_000, "axes": {**AXES, "topic": [f"t{n}" for n in range(99)]}}, "11,880,000 conversations are asked for"),
        ({"axes": {axis: [f"{n}" for n in range(1_000)] for axis in ("persona", "emotion", "topic")}, "templates": ["plain"]}, "set `sample`"),
    ],
)  # fmt: skip
def test_what_could_not_work_is_refused_before_anything_is_paid(configs: Path, keys: dict[str, Any], said: str) -> None:
    assert said in refusal(configs, **keys)


def test_a_limit_that_one_request_just_fits_is_taken(configs: Path) -> None:
    plan_of(configs, limits={"output_tokens": 12_000, "input_tokens": 2_170})


@pytest.mark.parametrize(
    ("axis", "value"), [("emotion", "Calm"), ("topic", "funds"), ("persona.name", "Cleo"), ("tier", "template")]
)
def test_a_template_that_fails_for_one_value_fails_in_the_plan(configs: Path, axis: str, value: str) -> None:
    template(configs, "plain", ["template"], variation={}, prompt=f"{{% if {axis} == '{value}' %}}{{{{ 1 / 0 }}}}{{% endif %}}x")
    assert refusal(configs) == "template 'plain' does not render: division by zero"


def test_two_names_of_one_persona_are_refused(configs: Path) -> None:
    (configs / "personas").mkdir()
    (configs / "personas" / "ann-lee.yaml").write_text("name: Ann Lee\ndescription: x\n")
    said = refusal(configs, axes={**AXES, "persona": ["Ann Lee", "Ann-Lee"]})
    assert said == "axes.persona: 'Ann Lee' and 'Ann-Lee' are both the persona 'Ann Lee': take one out"


def test_the_plan_notes_what_a_person_may_have_overlooked(configs: Path) -> None:
    (configs / "personas").mkdir()
    (configs / "personas" / "ann.yaml").write_text("name: Ann\ndescription: x\n")
    assert plan_of(configs).notes == ("without a description in configs/personas: Bert, Cleo",)
    notes = plan_of(configs, per_cell=2, axes={**AXES, "persona": ["Ann"]}).notes
    assert notes == (
        "template 'plain' varies 3 times: further draws of a cell repeat a prompt",
        "template 'edge' varies 3 times: further draws of a cell repeat a prompt",
    )


def test_a_model_without_schemas_is_told_the_format_in_words(configs: Path) -> None:
    old = plan_of(configs, model="claude-3-5-sonnet-20241022")
    assert not old.facts.structured
    assert all(old.prompt(cell, 0).user.endswith(ANSWER_FORMAT) for cell in old.cells)
    new = plan_of(configs)
    assert new.facts.structured
    assert not any(ANSWER_FORMAT in new.prompt(cell, 0).user for cell in new.cells)
    assert plan_of(configs, generation={"structured": False}).prompt(new.cells[0], 0) == old.prompt(old.cells[0], 0)


def test_the_worst_case_is_beyond_what_is_expected(configs: Path) -> None:
    plan = plan_of(configs)
    prompt = plan.prompt(plan.cells[0], 0)
    assert expected_usage(prompt, SONNET) == Usage((len(prompt.system) + len(prompt.user)) // 3 + 200, ANSWER_TOKENS)
    worst = worst_cost_pico(prompt, plan.spec.generation.max_tokens, plan.price)
    assert worst > cost_pico(replace(expected_usage(prompt, SONNET), output_tokens=4096), plan.price)


def test_the_worst_case_counts_bytes_and_not_letters(configs: Path) -> None:
    plan = plan_of(configs, axes={**AXES, "topic": ["日本" * 50]})
    prompt = plan.prompt(plan.cells[0], 0)
    # what may be kept in the cache costs what writing it costs, the rest as input; all of it 1.1 × in a workspace pinned to the US
    price = plan.price.raised(Decimal("1.1"))
    system, user = len(prompt.system.encode()), len(prompt.user.encode()) + 200
    assert worst_cost_pico(prompt, 256, plan.price) == cost_pico(Usage(user, 256, cache_write_5m_tokens=system), price)
    alone = replace(prompt, shared=False)
    assert worst_cost_pico(alone, 256, plan.price) == cost_pico(Usage(system + user, 256), price)


def test_what_is_worth_keeping_is_the_long_shared_text_of_a_template(configs: Path) -> None:
    template(configs, "long", ["template", "edge_case"], system="You write and weigh every word. " * 80)  # 640 tokens
    template(configs, "varied", ["template", "edge_case"], system="You write about {{ topic }}. " * 80)
    varied = plan_of(configs, templates=["varied"])
    assert kept_text(varied.prompt(varied.cells[0], 0), SONNET, varied.spec.generation) is None
    short = plan_of(configs)
    assert kept_text(short.prompt(short.cells[0], 0), SONNET, short.spec.generation) is None
    plan = plan_of(configs, templates=["long"])
    prompt, settings = plan.prompt(plan.cells[0], 0), plan.spec.generation
    assert kept_text(prompt, SONNET, settings) == prompt.system
    assert kept_text(prompt, SONNET, settings.model_copy(update={"caching": False})) is None
    assert kept_text(prompt, snapshot_facts("claude-haiku-4-5"), settings) is None  # keeps nothing below 4,096 tokens
    assert kept_text(replace(prompt, shared=False), SONNET, settings) is None


@pytest.mark.server
def test_a_hundred_thousand_cells_are_planned_in_little_memory(configs: Path) -> None:
    axes = {
        "persona": [f"P{n}" for n in range(50)],
        "emotion": [f"E{n}" for n in range(20)],
        "topic": [f"T{n}" for n in range(50)],
    }
    text = spec(axes={**axes, "tier": ["template", "edge_case"]}).text()
    code = (
        "import sys, psutil; from pathlib import Path\n"
        "from convoforge.planning.spec import DatasetSpec; from convoforge.planning.templates import Library; from convoforge.planning.plan import make_plan\n"
        "plan = make_plan(DatasetSpec.from_text(sys.stdin.read()), Library.at(Path(sys.argv[1])), 'anthropic')\n"
        "print(len(plan.cells), psutil.Process().memory_info().rss)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(configs)], input=text, check=True, capture_output=True, text=True)
    cells, peak = done.stdout.split()
    assert int(cells) == 100_000 <= MAX_PLANNED
    assert int(peak) < 400_000_000


@pytest.mark.server
def test_a_plan_needs_no_client_and_no_prefect(configs: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from convoforge.planning.spec import DatasetSpec; from convoforge.planning.templates import Library; from convoforge.planning.plan import make_plan\n"
        "make_plan(DatasetSpec.from_text(sys.stdin.read()), Library.at(Path(sys.argv[1])), 'anthropic')\n"
        "print(sorted({'anthropic', 'prefect', 'sqlalchemy', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(configs)], input=spec().text(), check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"
