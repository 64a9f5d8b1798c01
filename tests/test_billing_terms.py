"""What an answer was billed by beside its tokens: priced by its own words, told where nothing is known of it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from convoforge.billing_terms import billed_under, describe_terms
from convoforge.models import Prompt, Terms, Usage
from convoforge.planning.plan import worst_cost_pico
from convoforge.pricing import Price, cost, cost_pico, price_of

MODEL = "claude-sonnet-5-5"
ALL = Usage(100, 50, 1_000, 1_000, 2_000)


@pytest.mark.parametrize(
    "terms", [Terms(), Terms("global", "standard", "standard"), Terms("not_available"), Terms(service_tier="batch")]
)
def test_plain_terms_change_no_price(terms: Terms) -> None:
    price = price_of(MODEL)
    assert billed_under(price, MODEL, terms).price is price
    assert describe_terms(MODEL, terms) is None


def test_the_united_states_cost_a_tenth_more_on_every_kind_of_token() -> None:
    price = price_of(MODEL)
    billed = billed_under(price, MODEL, Terms("us"))
    assert billed.unknown == ()
    assert billed.price.text == "2.2/11/2.75/4.4/0.11"
    assert cost(ALL, billed.price) == cost(ALL, price) * Decimal("1.1") == Decimal("0.01243")
    assert "1.1 × on every token" in (describe_terms(MODEL, Terms("us")) or "")


def test_it_holds_for_both_parts_of_a_price_in_tiers_and_for_batches() -> None:
    price = price_of("claude-haiku-5-5", batch=True)
    raised = billed_under(price, "claude-haiku-5-5", Terms("us", "batch")).price
    for usage in (Usage(1_000, 1_000), Usage(150_000, 1_000, 3)):
        assert cost(usage, raised) == cost(usage, price) * Decimal("1.1")
    assert raised.above is not None


def test_a_price_that_becomes_too_fine_is_rounded_up() -> None:
    price = Price(*map(Decimal, ("0.000001", "0.000003", "0.000001", "0.000001", "0")))
    raised = billed_under(price, "own", Terms("us")).price
    assert (raised.input, raised.output) == (Decimal("0.000002"), Decimal("0.000004"))


def test_a_fast_answer_costs_what_is_published_for_it() -> None:
    price = price_of("claude-opus-5-5")
    fast = billed_under(price, "claude-opus-5-5", Terms(speed="fast"))
    assert (fast.price.text, fast.unknown) == ("8/40/10/16/0.4", ())
    both = billed_under(price, "claude-opus-5-5", Terms("us", speed="fast"))
    assert both.price.input == Decimal("8.8")


@pytest.mark.parametrize(
    ("terms", "unknown"),
    [
        (Terms("eu"), ("inference_geo eu",)),
        (Terms(service_tier="priority"), ("service_tier priority",)),
        (Terms(speed="fast"), ("speed fast",)),
        (Terms(speed="warp"), ("speed warp",)),
        (Terms("mars", "gold", "warp"), ("inference_geo mars", "service_tier gold", "speed warp")),
    ],
)
def test_terms_that_no_price_is_known_of_are_named(terms: Terms, unknown: tuple[str, ...]) -> None:
    assert billed_under(price_of(MODEL), MODEL, terms).unknown == unknown
    assert "no price of it is known" in (describe_terms(MODEL, terms) or "")


def test_a_known_multiple_still_counts_beside_an_unknown_one() -> None:
    billed = billed_under(price_of(MODEL), MODEL, Terms("us", "priority"))
    assert (billed.price.input, billed.unknown) == (Decimal("2.2"), ("service_tier priority",))


@pytest.mark.parametrize("shared", [True, False])
def test_the_worst_case_covers_a_workspace_that_is_pinned_to_the_united_states(shared: bool) -> None:
    prompt, price = Prompt("s" * 4_000, "u" * 100, shared=shared), price_of(MODEL)
    us = billed_under(price, MODEL, Terms("us")).price
    everything = Usage(0, 4096, cache_write_5m_tokens=4_000) if shared else Usage(4_300, 4096)
    assert worst_cost_pico(prompt, 4096, price) >= cost_pico(everything, us) > cost_pico(everything, price)
