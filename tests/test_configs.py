"""The specs, templates and personas that come with the project: all of them work, and copies of a text stay copies."""

from __future__ import annotations

from pathlib import Path

import pytest

from convoforge.errors import ConfigError
from convoforge.models import Provider
from convoforge.planning.config_files import read_yaml
from convoforge.planning.plan import Plan, make_plan
from convoforge.planning.spec import change_spec, load_spec
from convoforge.planning.templates import Library
from convoforge.settings import ROOT

CONFIGS = ROOT / "configs"
SPECS = sorted(path.stem for path in (CONFIGS / "datasets").glob("*.yaml"))
TEMPLATES = sorted(path.stem for path in (CONFIGS / "templates").glob("*.yaml"))
PERSONAS = sorted((CONFIGS / "personas").glob("*.yaml"))
DOMAINS = sorted({name.partition("-")[0] for name in TEMPLATES})


def plan(name: str, provider: Provider = "anthropic") -> Plan:
    return make_plan(load_spec(name, CONFIGS), Library.at(CONFIGS), provider)


@pytest.mark.parametrize("provider", ["anthropic", "simulator"])
@pytest.mark.parametrize("name", SPECS)
def test_a_spec_plans_and_is_called_like_its_file(name: str, provider: Provider) -> None:
    made = plan(name, provider)
    assert made.spec.name == name
    assert made.planned > 0
    assert made.facts.uses_schema(made.spec.generation)
    assert made.notes == ()


@pytest.mark.parametrize("name", SPECS)
def test_every_cell_renders_and_no_two_of_its_first_draws_send_the_same(name: str) -> None:
    sampled = plan(name)
    whole = make_plan(change_spec(sampled.spec, sample=None), sampled.library, "anthropic")
    second = whole.cells[::10]  # a second draw of each of these; of all of them it takes ten seconds
    prompts = {whole.fingerprint(cell, 0) for cell in whole.cells} | {whole.fingerprint(cell, 1) for cell in second}
    assert len(prompts) == len(whole.cells) + len(second) > len(sampled.cells)
    prompt = whole.prompt(whole.cells[0], 0)
    assert all("{{" not in text and "{%" not in text for text in (prompt.user, prompt.system, prompt.conversation_system or ""))


@pytest.mark.parametrize("name", SPECS)
def test_every_value_of_every_parameter_renders(name: str) -> None:
    made = plan(name)
    declared = {key: value for name in made.spec.templates for key, value in made.library.template(name).parameters.items()}
    for key, parameter in declared.items():
        for value in parameter.values or ("market_downturn",):
            make_plan(change_spec(made.spec, parameters={key: value}), made.library, "anthropic")
        if parameter.values:
            with pytest.raises(ConfigError, match=f"parameter '{key}' is 'other'"):
                make_plan(change_spec(made.spec, parameters={key: "other"}), made.library, "anthropic")


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_system_text_is_the_same_for_every_conversation_so_that_it_can_be_cached(name: str) -> None:
    template = Library.at(CONFIGS).template(name)
    assert "{{" not in template.system
    assert "{%" not in template.system


@pytest.mark.parametrize("domain", DOMAINS)
def test_the_templates_of_a_domain_begin_their_system_text_word_by_word_alike(domain: str) -> None:
    systems = [Library.at(CONFIGS).template(name).system for name in TEMPLATES if name.partition("-")[0] == domain]
    beginnings = {system.partition("\nWhat this kind of conversation is for\n")[0] for system in systems}
    assert len(systems) > 1
    assert len(beginnings) == 1
    assert all(len(beginning) > 4_000 for beginning in beginnings)  # characters: above what 5.5 models begin to cache at


@pytest.mark.parametrize("path", PERSONAS, ids=lambda path: path.stem)
def test_a_persona_is_found_by_its_name_and_is_described(path: Path) -> None:
    name = read_yaml(path)["name"]
    library = Library.at(CONFIGS)
    persona = library.persona(name)
    assert path.stem == "-".join(name.lower().split())
    assert library.describes(name)
    assert persona.name == name
    assert persona.voice


def test_every_template_and_every_persona_is_used_by_a_spec() -> None:
    specs = [load_spec(name, CONFIGS) for name in SPECS]
    assert {template for spec in specs for template in spec.templates} == set(TEMPLATES)
    named = {read_yaml(path)["name"] for path in PERSONAS}
    assert {persona for spec in specs for persona in spec.axes.persona} == named
