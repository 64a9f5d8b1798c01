"""Templates are found wrong when they are read, render the same every time, and let nothing from outside be more than text."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from convoforge.errors import ConfigError
from convoforge.models import ConversationRequest, Prompt, Scalar
from convoforge.planning.templates import Library, Persona, Template

TEMPLATE: dict[str, Any] = {
    "version": 1,
    "description": "a small one",
    "tiers": ["template"],
    "system": "You write.",
    "prompt": "{{ persona.name }} is {{ emotion }} about {{ topic }}, {{ tier }}.",
}


def library(folder: Path, **keys: Any) -> Library:
    """A config folder with one template, `small`, that has some keys written otherwise; None leaves a key out."""
    (folder / "templates").mkdir(exist_ok=True)
    (folder / "personas").mkdir(exist_ok=True)
    raw = {key: value for key, value in {**TEMPLATE, **keys}.items() if value is not None}
    (folder / "templates" / "small.yaml").write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True))
    return Library.at(folder)


def request(persona: str = "Ann", emotion: str = "Fear", topic: str = "debt", **parameters: Scalar) -> ConversationRequest:
    return ConversationRequest(template="small", persona=persona, emotion=emotion, topic=topic, parameters=parameters)


def render(folder: Path, asked: ConversationRequest, draw: int = 0, **keys: Any) -> Prompt:
    held = library(folder, **keys)
    return held.template("small").render(asked, held.persona(asked.persona), draw)


def refusal(folder: Path, **keys: Any) -> str:
    """What is said of the template when it is read: one line that names the file."""
    with pytest.raises(ConfigError) as caught:
        library(folder, **keys).template("small")
    said = str(caught.value)
    assert "\n" not in said
    assert said.startswith(f"{folder / 'templates' / 'small.yaml'}: ")
    return said.partition("small.yaml: ")[2]


def test_a_prompt_holds_what_was_asked_for(tmp_path: Path) -> None:
    keys = {
        "parameters": {"complexity": {"description": "how hard", "values": ["low", "high"], "default": "low"}},
        "variation": {"opening": ["a question"]},
        "conversation_system": "Be kind to {{ persona.name }}.",
        "prompt": "{{ persona.name }}/{{ emotion }}/{{ topic }}/{{ tier }}/{{ parameters.complexity }}/{{ variation.opening }}",
    }
    prompt = render(tmp_path, request(), **keys)
    assert prompt == Prompt("You write.", "Ann/Fear/debt/template/low/a question", "Be kind to Ann.", shared=True)
    assert json.loads(prompt.drawn) == {"parameters": {"complexity": "low"}, "variation": {"opening": "a question"}}
    assert render(tmp_path, request(complexity="high"), **keys).user == "Ann/Fear/debt/template/high/a question"


HOSTILE = [
    "{{ 7 * 7 }}",
    "{% for x in [].__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ config }}",
    "{# gone #}",
    "}} {{ persona }}",
    "{{ ''.__class__ }}",
    "%s %(persona)s {persona} $persona",
    "<script>&amp;",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_outside_is_text_and_never_code(tmp_path: Path, text: str) -> None:
    keys = {
        "parameters": {"word": {"description": "any"}},
        "variation": {"line": [text]},
        "prompt": "{{ persona.name }}|{{ emotion }}|{{ topic }}|{{ parameters.word }}|{{ variation.line }}",
        "conversation_system": "{{ topic }}",
    }
    prompt = render(tmp_path, request(text, text, text, word=text), **keys)
    assert prompt.user == "|".join([text] * 5)
    assert prompt.conversation_system == text


@pytest.mark.parametrize(
    "code",
    [
        "{{ ''.__class__ }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ persona.name.__class__ }}",
        "{{ emotion.__init__.__globals__ }}",
        "{{ emotion | attr('__class__') }}",
        "{{ '{0.__class__}'.format(emotion) }}",
        "{{ '%s' | format(emotion.__class__) }}",
        "{{ self._TemplateReference__context }}",
        "{{ (emotion ~ '')['__class__'] }}",
        "{{ [1].append(2) }}{{ [1].append.__self__ }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}{{ os.name }}",
        "{% extends 'base' %}",
    ],
)
def test_a_template_reaches_nothing_but_what_it_is_given(tmp_path: Path, code: str) -> None:
    with pytest.raises(ConfigError, match="small"):
        render(tmp_path, request(), prompt=f"{{{{ topic }}}} {code}")


@pytest.mark.parametrize(
    "code",
    [
        "{{ persona.__class__ }}",
        "{{ persona.model_dump() }}",
        "{{ persona._values }}",
        "{{ persona['_values'] }}",
        "{{ parameters.items() }}",
        "{{ variation.__getitem__ }}",
    ],
)
def test_a_template_sees_names_of_its_groups_and_no_method_of_them(tmp_path: Path, code: str) -> None:
    assert "is used but not declared" in refusal(tmp_path, prompt=code)


def test_a_parameter_may_be_called_like_a_method(tmp_path: Path) -> None:
    names = ["items", "keys", "values", "get", "pop", "name"]
    keys = {
        "parameters": {name: {"description": "any", "default": f"the {name}"} for name in names},
        "prompt": " ".join(f"{{{{ parameters.{name} }}}}" for name in names),
    }
    assert render(tmp_path, request(), **keys).user == " ".join(f"the {name}" for name in names)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("{{ lipsum() }}", "prompt uses 'lipsum', which nothing gives. Known: emotion, parameters, persona, "),
        ("{{ range(3) }}", "prompt uses 'range', which nothing gives"),
        ("{{ [1, 2] | random }}", "prompt, line 1: No filter named 'random'"),
    ],
)
def test_a_template_cannot_be_different_every_time(tmp_path: Path, code: str, said: str) -> None:
    assert said in refusal(tmp_path, prompt=code)


@pytest.mark.parametrize("code", ["{{ emotion.upper }}", "{{ [1, 2] }}", "{{ {'a': 1} }}", "{{ none }}"])
def test_only_text_and_numbers_can_be_printed(tmp_path: Path, code: str) -> None:
    with pytest.raises(ConfigError, match="is printed where a text or a number belongs"):
        render(tmp_path, request(), prompt=f"{{{{ topic }}}} {code}")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"prompt": "{{ emotoin }}"}, "prompt uses 'emotoin', which nothing gives; did you mean 'emotion'?"),
        ({"system": "{{ emotoin }}"}, "system uses 'emotoin', which nothing gives"),
        ({"conversation_system": "{{ emotoin }}"}, "conversation_system uses 'emotoin', which nothing gives"),
        ({"prompt": "{% if topic %}{% set late = 1 %}{% endif %}{{ late }}"}, "prompt uses 'late', which nothing gives"),
        ({"prompt": "{{ persona.nam }}"}, "'persona.nam' is used but not declared; did you mean 'name'?"),
        ({"prompt": "{{ parameters.complexty }}"}, "'parameters.complexty' is used but not declared. Known: none."),
        ({"prompt": "{{ parameters['complexty'] }}"}, "'parameters.complexty' is used but not declared"),
        ({"prompt": "{{ variation.opening }}"}, "'variation.opening' is used but not declared"),
        ({"parameters": {"x": {"description": "any"}}}, "'parameters.x' is declared but used nowhere: use it or take it out"),
        ({"variation": {"x": ["a"]}}, "'variation.x' is declared but used nowhere: use it or take it out"),
        ({"prompt": "{% set p = parameters %}{{ p.x }}"}, "line 1: write parameters.NAME in full"),
        ({"prompt": "{% for p in parameters %}{{ p }}{% endfor %}"}, "line 1: write parameters.NAME in full"),
        ({"prompt": "{{ parameters | length }}"}, "line 1: write parameters.NAME in full"),
        ({"prompt": "{{ parameters[topic] }}"}, "line 1: write parameters.NAME in full"),
        ({"prompt": "x\n{{ persona }}"}, "prompt: line 2: write persona.NAME in full"),
        ({"prompt": "{% set topic = 'x' %}{{ topic }}"}, "line 1: 'topic' is given and cannot be set: use another name"),
        ({"prompt": "{% for persona in ['a'] %}{{ persona }}{% endfor %}"}, "'persona' is given and cannot be set"),
        ({"prompt": "a\nb {{ topic"}, "prompt, line 2: "),
        ({"prompt": "{% if topic %}x"}, "prompt, line 1: "),
        ({"prompt": "{{ topic | nofilter }}"}, "prompt, line 1: No filter named 'nofilter'"),
        ({"prompt": "  "}, "prompt: may not be empty"),
        ({"prompt": None}, "'prompt' is missing"),
        ({"version": 0}, "version: must be at least 1 (found 0)"),
        ({"version": True}, "version: expected a whole number (found true)"),
        ({"tiers": []}, "tiers: may not be empty"),
        ({"tiers": ["a", "A"]}, "tiers: 'a' and 'A' are the same"),
        ({"variation": {"x": []}, "prompt": "{{ variation.x }}"}, "variation.x: may not be empty"),
        ({"variation": {"x": ["a", "a"]}, "prompt": "{{ variation.x }}"}, "variation.x: 'a' stands twice"),
        ({"variation": {"x-y": ["a"]}}, "variation.x-y: 'x-y' cannot be a name here: up to 64 letters, digits and _"),
        ({"parameters": {"1st": {"description": "any"}}}, "parameters.1st: '1st' cannot be a name here"),
        ({"parameters": {"x": {"describtion": "any"}}}, "unknown key 'parameters.x.describtion'; did you mean 'description'?"),
        ({"parameters": {"x": {"description": "any", "values": []}}}, "parameters.x.values: may not be empty"),
        (
            {"parameters": {"x": {"description": "any", "values": ["a", "b"], "default": "c"}}},
            "parameters.x: the default 'c' is none of the values",
        ),
        ({"sytem": "x"}, "unknown key 'sytem'; did you mean 'system'?"),
        ({"name": "small"}, "unknown key 'name': a template is called by the name of its file"),
        ({"sha256": "0"}, "unknown key 'sha256'"),
    ],
)
def test_a_wrong_template_is_refused_when_it_is_read(tmp_path: Path, keys: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, **keys)


def test_an_unknown_template_names_the_nearest(tmp_path: Path) -> None:
    held = library(tmp_path)
    with pytest.raises(ConfigError, match="unknown template 'smal'; did you mean 'small'\\? Known: small."):
        held.template("smal")
    for name in ("../small", "templates/small", "", "x" * 300, "a\0b", "small\n"):
        with pytest.raises(ConfigError, match="unknown template"):
            held.template(name)


def test_a_parameter_is_used_in_brackets_and_in_conditions_too(tmp_path: Path) -> None:
    keys = {
        "parameters": {"x": {"description": "any", "default": True}, "y": {"description": "any", "default": 2}},
        "prompt": "{% if parameters['x'] %}{% for word in ['a', 'b'] %}{{ word * parameters.y }}{% endfor %}{% endif %}",
    }
    assert render(tmp_path, request(), **keys).user == "aabb"


@pytest.mark.parametrize(
    ("given_values", "said"),
    [
        ({}, "template 'small' needs the parameter 'size': set it under `parameters:`"),
        ({"size": "tall"}, "parameter 'size' is 'tall', but template 'small' takes 'low', 1"),
        ({"size": True}, "parameter 'size' is true, but template 'small' takes 'low', 1"),
        ({"size": "low", "colour": "red"}, "template 'small' declares no parameter 'colour'. Known: size."),
        ({"size": "low", "sise": "red"}, "template 'small' declares no parameter 'sise'; did you mean 'size'? Known: size."),
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(tmp_path: Path, given_values: dict[str, Scalar], said: str) -> None:
    keys = {"parameters": {"size": {"description": "any", "values": ["low", 1]}}, "prompt": "{{ parameters.size }}"}
    with pytest.raises(ConfigError) as caught:
        render(tmp_path, request(**given_values), **keys)
    assert str(caught.value) == said


def test_a_value_that_is_missing_at_rendering_is_an_error_and_no_empty_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="template 'small' does not render: 'dict object' has no attribute 'debt'"):
        render(tmp_path, request(), prompt="{{ {'fees': 1}[topic] }}")
    with pytest.raises(ConfigError, match="template 'small' does not render: nothing is left of `prompt`"):
        render(tmp_path, request(), prompt="{% if topic == 'x' %}{{ topic }}{% endif %}")
    assert render(tmp_path, request(), conversation_system="{% if topic == 'x' %}x{% endif %}").conversation_system is None


def test_a_persona_brings_its_file_along_and_any_other_is_used_as_it_stands(tmp_path: Path) -> None:
    held = library(tmp_path)
    file = {"name": "Anxious Investor", "speaks": "assistant", "description": "58, careful", "voice": "short sentences"}
    (tmp_path / "personas" / "anxious-investor.yaml").write_text(yaml.safe_dump(file))
    for name in ("Anxious Investor", "anxious investor", "Anxious-Investor"):
        assert held.persona(name) == Persona.model_validate(file)
        assert held.describes(name)
    for name in ("Anxious Investor 日本", "Ängstlicher Anleger", "日本", "!!!", "日" * 200, "a" * 200, "../../etc/passwd"):
        assert held.persona(name) == Persona(name=name)
        assert not held.describes(name)


def test_letters_of_any_script_name_a_persona_file(tmp_path: Path) -> None:
    held = library(tmp_path)
    (tmp_path / "personas" / "ängstliche-anlegerin.yaml").write_text("name: Ängstliche Anlegerin\ndescription: x\n")
    assert held.describes("Ängstliche Anlegerin")
    assert held.describes("A\u0308ngstliche Anlegerin")  # the same letter in two characters


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: Bert", "name: 'Bert' belongs in bert.yaml: rename the file or the persona"),
        ("description: x", "'name' is missing"),
        ("name: Ann\nspeaks: nobody", "speaks: must be 'user' or 'assistant' (found 'nobody')"),
        ("name: Ann\nvoise: x", "unknown key 'voise'; did you mean 'voice'? Known: description, name, speaks, voice."),
        ("name: Ann\ndescription: 5", "description: expected a text (found 5)"),
        ("- Ann", "expected keys and values"),
    ],
)
def test_a_wrong_persona_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    held = library(tmp_path)
    (tmp_path / "personas" / "ann.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        held.persona("Ann")
    assert str(caught.value).startswith(f"{tmp_path / 'personas' / 'ann.yaml'}: {said}")


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    persona=st.text("ab", min_size=1, max_size=3),
    topic=st.sampled_from(["debt", "funds", "fees"]),
)
def test_draws_of_a_cell_differ_as_long_as_the_lists_allow(lengths: list[int], persona: str, topic: str) -> None:
    template = Template.model_validate(
        {
            **TEMPLATE,
            "name": "small",
            "sha256": "0",
            "variation": {f"v{number}": [f"{number}.{line}" for line in range(size)] for number, size in enumerate(lengths)},
            "prompt": " ".join(f"{{{{ variation.v{number} }}}}" for number in range(len(lengths))),
        }
    )
    assert template.variations == prod(lengths)
    most = min(60, template.variations)
    prompts = [template.render(request(persona, topic=topic), Persona(name=persona), draw).user for draw in range(most)]
    assert len(set(prompts)) == most
    assert prompts == [template.render(request(persona, topic=topic), Persona(name=persona), draw).user for draw in range(most)]


def test_cells_begin_at_different_lines(tmp_path: Path) -> None:
    keys = {"variation": {"a": list("abcdefgh"), "b": list("ABCDEFGH")}, "prompt": "{{ variation.a }}{{ variation.b }}"}
    template = library(tmp_path, **keys).template("small")
    first = {template.render(request(topic=f"topic {number}"), Persona(name="Ann")).user for number in range(200)}
    assert len(first) > 50  # of 64
    assert {text[0] for text in first} == set("abcdefgh")


def test_neighbouring_draws_share_no_line_of_a_list_of_three_or_more(tmp_path: Path) -> None:
    keys = {"variation": {"a": list("abcde"), "b": list("ABCDEFG"), "c": list("123")}, "prompt": "{{ variation.a }}{{ variation.b }}{{ variation.c }}"}  # fmt: skip
    template = library(tmp_path, **keys).template("small")
    prompts = [template.render(request(), Persona(name="Ann"), draw).user for draw in range(12)]
    for before, after in pairwise(prompts):
        assert all(one != other for one, other in zip(before, after, strict=True))


@pytest.mark.server
def test_a_prompt_is_the_same_in_every_process(tmp_path: Path) -> None:
    library(tmp_path, variation={"a": list("abcdefgh")}, prompt="{{ topic }} {{ variation.a }}")
    code = (
        "import sys; from pathlib import Path; from convoforge.planning.templates import Library\n"
        "from convoforge.models import ConversationRequest\n"
        "held = Library.at(Path(sys.argv[1])); asked = ConversationRequest(template='small', persona='A', emotion='B', topic='C')\n"
        "print([held.template('small').render(asked, held.persona('A'), draw).user for draw in range(8)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]


def test_a_comment_changes_the_lineage_and_not_the_prompt(tmp_path: Path) -> None:
    held = library(tmp_path)
    before = held.template("small")
    path = tmp_path / "templates" / "small.yaml"
    path.write_text("# a comment\n" + path.read_text())
    after = Library.at(tmp_path).template("small")
    assert before.label != after.label
    assert after.label == f"1/{after.sha256[:8]}"
    assert before.render(request(), Persona(name="Ann")) == after.render(request(), Persona(name="Ann"))


def test_each_file_is_read_once(tmp_path: Path) -> None:
    held = library(tmp_path)
    first = held.template("small")
    (tmp_path / "templates" / "small.yaml").write_text("gone")
    assert held.template("small") is first


@settings(deadline=None)
@given(st.text(max_size=30), st.text(max_size=30))
def test_any_label_is_rendered_as_it_is(persona: str, topic: str) -> None:
    template = Template.model_validate(
        {**TEMPLATE, "name": "small", "sha256": "0", "prompt": "<{{ persona.name }}|{{ topic }}>", "system": "x"}
    )
    try:
        asked = request(persona, topic=topic)
    except ValueError:
        return
    assert template.render(asked, Persona(name=asked.persona)).user == f"<{asked.persona}|{asked.topic}>"


def test_a_parameter_that_cannot_be_written_down_is_refused() -> None:
    with pytest.raises(ValidationError, match="half a character"):
        ConversationRequest(
            template="advice", persona="a", emotion="b", topic="c", tier="template", parameters={"complexity": "\ud800"}
        )
