"""The plan: the cells of a spec, and the prompt for each draw of a cell. Deterministic; makes no calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import ceil, prod

from convoforge.billing_terms import worst_price
from convoforge.candidates import CANDIDATES_SCHEMA, ask_for_candidates
from convoforge.errors import ConfigError, nearest
from convoforge.models import ConversationRequest, Prompt, Provider, Scalar, Usage
from convoforge.parsing import ANSWER_FORMAT
from convoforge.planning.grid import Grid, Past, Values, choose, sign
from convoforge.planning.keys import cell_key, request_fingerprint
from convoforge.planning.model_facts import ModelFacts, describe_model, snapshot_facts
from convoforge.planning.spec import AXES, DatasetSpec, Generation
from convoforge.planning.templates import Library, Template
from convoforge.planning.thinking import Thinking, describe_thinking, thinking_of
from convoforge.pricing import Price, cost_pico, price_of

PROMPT_OVERHEAD_TOKENS = 200
"""Maximum input tokens of a request beyond the prompt's own text: the answer's schema and the message frame."""

MAX_PLANNED = 1_000_000
"""Maximum number of conversations in one plan: a million cost about ten thousand dollars, and fit into a process's memory."""

ANSWER_TOKENS = 1_200
"""Expected tokens of one answer before any are known: 12 turns of 250 characters, plus JSON, at 3.5 characters per token."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of axis values, and the template that serves it."""

    key: str
    persona: str
    emotion: str
    topic: str
    tier: str
    template: str

    @property
    def values(self) -> Values:
        """Its values, independent of any dataset."""
        return self.persona, self.emotion, self.topic, self.tier, self.template

    def name_draw(self, draw: int) -> str:
        """The name of draw number `draw` (from 0) for a person."""
        return f"{self.persona} · {self.emotion} · {self.topic} · {self.tier} #{draw + 1}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The cells of a spec for one provider, in the order in which they are generated and published. `price` is the price in the
    spec's mode; `facts` are those of its model. `numbers` are the cells' numbers in `grid`; plans with the same `signature` share
    their cells."""

    spec: DatasetSpec
    provider: Provider
    cells: tuple[Cell, ...]
    library: Library
    price: Price
    facts: ModelFacts
    notes: tuple[str, ...]
    grid: Grid
    signature: str
    numbers: tuple[int, ...]

    @property
    def sampled(self) -> bool:
        """Whether the axes span more cells than the plan has."""
        return len(self.cells) < prod(self.grid.sizes)

    @property
    def thinking(self) -> Thinking:
        return thinking_of(self.facts, self.spec.generation)

    @property
    def planned(self) -> int:
        """Number of accepted conversations that the plan aims for."""
        return len(self.cells) * self.spec.per_cell

    def prompt(self, cell: Cell, draw: int, lines: str | None = None) -> Prompt:
        """The prompt for draw number `draw` of a cell. `lines` are the variation lines that the ledger has for it, if it has any."""
        template = self.library.template(cell.template)
        request = ConversationRequest.model_construct(
            template=cell.template,
            persona=cell.persona,
            emotion=cell.emotion,
            topic=cell.topic,
            tier=cell.tier,
            parameters=_parameters(self.spec, template),
        )
        rendered = template.render(request, self.library.persona(cell.persona), draw, lines)
        settings = self.spec.generation
        return with_format_instructions(rendered, structured=self.facts.uses_schema(settings), candidates=settings.candidates)

    def fingerprint(self, cell: Cell, draw: int, lines: str | None = None) -> str:
        """The current request fingerprint of draw number `draw` of a cell."""
        return request_fingerprint(self.spec.model, self.prompt(cell, draw, lines), self.spec.generation)


Recall = Callable[[Grid, str], Past]
"""Reads the past of a dataset for a plan with this grid and signature."""


def make_plan(
    spec: DatasetSpec, library: Library, provider: Provider, facts: ModelFacts | None = None, recall: Recall | None = None
) -> Plan:
    """Make the plan of a spec. Without `facts` the package's snapshot of the model is used; without `recall` the plan is made as
    if nothing had been built yet. Raises `ConfigError` for everything that cannot work, before anything is paid."""
    facts = facts or snapshot_facts(spec.model)
    thinking = thinking_of(facts, spec.generation)
    templates = [library.template(name) for name in spec.templates]
    _check_templates(spec, templates)
    _check_personas(spec, library)
    axes = spec.axes
    # A tier with several templates gives several cells: (tier, template) is one axis.
    last = [(tier, template.name) for tier in axes.tier for template in templates if tier in template.tiers]
    grid = Grid.of(axes.persona, axes.emotion, axes.topic, last)
    _check_size(spec, prod(grid.sizes))
    price = price_of(spec.model, batch=spec.mode == "batch", overrides=spec.prices)
    signature = sign(grid, spec.sample, spec.seed)
    chosen = choose(grid, spec.sample, spec.seed, recall(grid, signature) if recall else Past())
    cells = tuple(_cell(spec.name, provider, grid.values(cell)) for cell in chosen)
    numbers = tuple(map(grid.number, chosen))
    notes = (*_notes(spec, library, templates, facts), *_uneven(spec, cells))
    plan = Plan(spec, provider, cells, library, price, facts, notes, grid, signature, numbers)
    # Every value of every axis is rendered once with every template it occurs with: a template that fails for it fails here.
    first_with = {(cell.template, axis, getattr(cell, axis)): cell for cell in reversed(cells) for axis in AXES}
    for cell in dict.fromkeys(first_with.values()):
        _check_fits(spec, plan.prompt(cell, 0), facts, thinking)
    return plan


def _cell(dataset: str, provider: Provider, values: Values) -> Cell:
    persona, emotion, topic, tier, template = values
    named = {"persona": persona, "emotion": emotion, "topic": topic, "tier": tier, "template": template}
    return Cell(cell_key(dataset, provider, named), persona, emotion, topic, tier, template)


def _check_size(spec: DatasetSpec, cells: int) -> None:
    if spec.sample is not None and spec.sample > cells:
        raise ConfigError(f"sample: {spec.sample} cells are asked for, but the axes span only {cells}")
    planned = (spec.sample or cells) * spec.per_cell
    if planned > MAX_PLANNED:
        raise ConfigError(
            f"{planned:,} conversations are asked for ({spec.sample or cells:,} cells of {spec.per_cell}), more than {MAX_PLANNED:,}: "
            "set `sample` to a number of cells, spread evenly over the axes"
        )


def _notes(spec: DatasetSpec, library: Library, templates: list[Template], facts: ModelFacts) -> Iterator[str]:
    yield from describe_model(facts, spec.generation)
    if (thinks := describe_thinking(facts, spec.generation)) is not None:
        yield thinks
    if (count := spec.generation.candidates) > 1:
        yield (
            f"generation.candidates: each answer has {count} conversations, of which one is kept, and costs {count} times the output; all "
            f"must fit into generation.max_tokens ({spec.generation.max_tokens:,})"
        )
    plain = [persona for persona in spec.axes.persona if not library.describes(persona)]
    if plain:
        yield f"without a description in configs/personas: {', '.join(plain)}"
    for template in templates:
        if template.variations < spec.per_cell * spec.max_draws:
            yield f"template '{template.name}' varies {template.variations} times: further draws of a cell repeat a prompt"


def _uneven(spec: DatasetSpec, cells: tuple[Cell, ...]) -> Iterator[str]:
    for axis in AXES if spec.sample else ():
        counts = Counter(getattr(cell, axis) for cell in cells)
        smallest, largest = min(counts[value] for value in getattr(spec.axes, axis)), max(counts.values())
        if largest - smallest > 1:
            yield f"the cells are not even over {axis}: {smallest} to {largest} of each value"


def _check_templates(spec: DatasetSpec, templates: list[Template]) -> None:
    for tier in spec.axes.tier:
        if not any(tier in template.tiers for template in templates):
            served = {served for template in templates for served in template.tiers}
            raise ConfigError(f"no template serves the tier '{tier}'{nearest(tier, served)}")
    for template in templates:
        if not set(template.tiers) & set(spec.axes.tier):
            raise ConfigError(
                f"template '{template.name}' serves only {', '.join(template.tiers)}, none of this spec's tiers: "
                "add the tier or drop the template"
            )
        template.settings(_parameters(spec, template))
    declared = {name for template in templates for name in template.parameters}
    for name in spec.parameters:
        if name not in declared:
            raise ConfigError(f"parameters: no template of this spec declares '{name}'{nearest(name, declared)}")


def _check_personas(spec: DatasetSpec, library: Library) -> None:
    described: dict[str, str] = {}
    for value in spec.axes.persona:
        name = library.persona(value).name
        if name in described:
            raise ConfigError(f"axes.persona: '{described[name]}' and '{value}' are both the persona '{name}': take one out")
        described[name] = value


def _check_fits(spec: DatasetSpec, prompt: Prompt, facts: ModelFacts, thinking: Thinking) -> None:
    room = 1 - spec.limits.pause_threshold
    usage = expected_usage(prompt, facts, thinking.expected_tokens)
    needs = {"input_tokens": usage.input_tokens, "output_tokens": usage.output_tokens}
    for kind, need in needs.items():
        limit = getattr(spec.limits, kind)
        if limit is not None and limit * room < need - 1e-6:  # float rounding: 0.1 of 12,000 is 1,199.999…
            raise ConfigError(
                f"limits.{kind}: {limit} is smaller than one request needs "
                f"(about {need} tokens at once; with pause_threshold {spec.limits.pause_threshold:g} that takes {ceil(need / room - 1e-6)})"
            )


def _parameters(spec: DatasetSpec, template: Template) -> dict[str, Scalar]:
    return {name: value for name, value in spec.parameters.items() if name in template.parameters}


def with_format_instructions(prompt: Prompt, *, structured: bool, candidates: int = 1) -> Prompt:
    """Add a description of the answer's format to the prompt if the model takes no schema (not `structured`); and, of several
    `candidates`, that they are wanted."""
    if candidates > 1:
        asked = f"{prompt.user}\n\n{ask_for_candidates(candidates, structured=structured)}"
        return replace(prompt, user=asked, schema=CANDIDATES_SCHEMA if structured else None)
    if structured:
        return prompt
    return replace(prompt, user=f"{prompt.user}\n\n{ANSWER_FORMAT}")


def expected_usage(prompt: Prompt, facts: ModelFacts, thinking_tokens: int = 0) -> Usage:
    """Expected usage of one request with nothing cached, for estimates and for the rate limiter."""
    schema = len(str(prompt.schema or ""))
    sent = (len(prompt.system) + len(prompt.message) + schema) // facts.characters_a_token + PROMPT_OVERHEAD_TOKENS
    return Usage(sent, ANSWER_TOKENS + thinking_tokens)


def worst_cost_pico(prompt: Prompt, max_tokens: int, price: Price) -> int:
    """Maximum cost of one request, in pico-dollars, which budgets reserve: a token is at least one byte, text that may be cached
    costs as much as a cache write, and a workspace may be pinned to the United States."""
    schema = len(str(prompt.schema or ""))  # that of a conversation is in the overhead
    system, user = len(prompt.system.encode()), len(prompt.message.encode()) + schema + PROMPT_OVERHEAD_TOKENS
    sent = Usage(system + user, max_tokens)
    written = Usage(user, max_tokens, cache_write_5m_tokens=system) if prompt.shared else sent
    price = worst_price(price)
    return max(cost_pico(sent, price), cost_pico(written, price))


def kept_text(prompt: Prompt, facts: ModelFacts, settings: Generation) -> str | None:
    """The part of a prompt that is worth caching at the API: the shared system text if it is long enough; else None."""
    if not (settings.caching and prompt.shared):
        return None
    return prompt.system if len(prompt.system) // facts.characters_a_token >= facts.cache_minimum else None
