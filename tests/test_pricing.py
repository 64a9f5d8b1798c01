"""Usage becomes exact dollars: the published prices, batch at half, cached tokens at their own rates."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from convoforge.errors import ConfigError
from convoforge.models import Usage
from convoforge.pricing import Price, PriceOverride, cost, cost_pico, dollars, pico, price_of, usd

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANTHROPIC = next(provider for provider in get_snapshot().providers if provider.id == "anthropic")
MODELS = [info.id for info in ANTHROPIC.models if info.get_prices(NOW).cache_read_mtok is not None]
WITH_BATCH = [info.id for info in ANTHROPIC.models if any(v.when == {"processing": "batch"} for v in info.price_variants or ())]

tokens = st.integers(0, 1_000_000) | st.integers(0, 10)
usages = st.builds(Usage, tokens, tokens, tokens, tokens, tokens)
rates = st.decimals(0, 1000, places=3)
flat_prices = st.builds(Price, rates, rates, rates, rates, rates)
prices = st.recursive(
    flat_prices,
    lambda next_price: st.builds(Price, rates, rates, rates, rates, rates, st.tuples(st.integers(0, 10**6), next_price)),
)


@pytest.mark.parametrize(
    "model, text",
    [
        ("claude-sonnet-5-5", "2/10/2.5/4/0.1"),
        ("claude-haiku-5-5", "0.1/0.5/0.125/0.2/0.01>100000:0.5/2.5/0.625/1/0.05"),
        ("claude-opus-5-5", "4/20/5/8/0.2"),
        ("claude-fable-5-2", "8/40/10/16/0.2"),
        ("claude-sonnet-4-6", "3/15/3.75/6/0.3"),
        ("claude-haiku-4-5", "1/5/1.25/2/0.1"),
    ],
)
def test_the_published_prices_are_known(model: str, text: str) -> None:
    price, batch = price_of(model, at=NOW), price_of(model, batch=True, at=NOW)
    assert price.text == text
    assert [2 * rate for rate in astuple(batch)[:5]] == list(astuple(price)[:5])


@pytest.mark.parametrize(
    "model, batch, usage, dollars",
    [
        ("claude-3-5-sonnet-20241022", False, Usage(1500, 2000), "0.0345"),
        ("claude-sonnet-5-5", False, Usage(100, 50, 1000, 1000, 2000), "0.0113"),
        ("claude-sonnet-5-5", True, Usage(100, 50, 1000, 1000, 2000), "0.00565"),
        ("claude-haiku-4-5-20251001", True, Usage(1500, 2000), "0.00575"),
        ("claude-haiku-5-5", True, Usage(cache_write_5m_tokens=1), "0.0000000625"),
        ("claude-haiku-5-5", False, Usage(cache_read_tokens=99_999, input_tokens=1), "0.00100009"),
        ("claude-haiku-5-5", False, Usage(cache_read_tokens=100_000, input_tokens=1, output_tokens=1), "0.005003"),
        ("claude-sonnet-5-5", False, Usage(), "0"),
    ],
)
def test_answers_cost_what_they_cost(model: str, batch: bool, usage: Usage, dollars: str) -> None:
    assert cost(usage, price_of(model, batch=batch, at=NOW)) == Decimal(dollars)


def theirs(model: str, usage: Usage, context: dict[str, str] | None = None) -> Decimal:
    writes = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    counted = genai_prices.Usage(
        input_tokens=usage.input_tokens + usage.cache_read_tokens + writes,  # theirs includes cached tokens
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cache_write_tokens=writes,
        cache_write_5m_tokens=usage.cache_write_5m_tokens,
        cache_write_1h_tokens=usage.cache_write_1h_tokens,
    )
    return genai_prices.calc_price(
        counted, model, provider_id="anthropic", genai_request_timestamp=NOW, price_context=context
    ).total_price


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(MODELS), usages)
def test_costs_equal_those_of_genai_prices(model: str, usage: Usage) -> None:
    assert cost(usage, price_of(model, at=NOW)) == theirs(model, usage)


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(WITH_BATCH), usages)
def test_batch_costs_equal_those_of_genai_prices_where_it_lists_them(model: str, usage: Usage) -> None:
    assert cost(usage, price_of(model, batch=True, at=NOW)) == theirs(model, usage, {"processing": "batch"})


@given(usages, prices)
def test_batch_is_half_of_everything(usage: Usage, price: Price) -> None:
    assert 2 * cost_pico(usage, price.times(Decimal("0.5"))) == cost_pico(usage, price)


@pytest.mark.parametrize("model", ["claude-3-5-sonnet-20241022", "claude-opus-4-1"])
def test_a_model_without_a_batch_price_has_no_batches(model: str) -> None:
    with pytest.raises(ConfigError, match=rf"no batch price is known for the model '{model}'.*`prices: .*batch: 0.5"):
        price_of(model, batch=True, at=NOW)


def test_a_spec_s_prices_say_what_a_batch_costs_or_there_are_none() -> None:
    given = PriceOverride(input=Decimal(2), output=Decimal(10), batch=Decimal("0.4"))
    assert price_of("mine", batch=True, overrides=given).text == "0.8/4/1/1.6/0.08"
    assert price_of("mine", overrides=given).text == "2/10/2.5/4/0.2"
    with pytest.raises(ConfigError, match="no batch price"):
        price_of("mine", batch=True, overrides=PriceOverride(input=Decimal(2), output=Decimal(10)))


@given(usages, flat_prices)
def test_a_cost_is_tokens_times_rates(usage: Usage, price: Price) -> None:
    expected = (
        usage.input_tokens * price.input
        + usage.output_tokens * price.output
        + usage.cache_read_tokens * price.cache_read
        + usage.cache_write_5m_tokens * price.cache_write_5m
        + usage.cache_write_1h_tokens * price.cache_write_1h
    ) / 1_000_000
    assert cost(usage, price) == expected == usd(cost_pico(usage, price))


@given(usages, usages, flat_prices)
def test_costs_add_up(one: Usage, other: Usage, price: Price) -> None:
    assert cost(one + other, price) == cost(one, price) + cost(other, price)


def test_a_price_is_the_one_of_the_day() -> None:
    long_prompt = Usage(input_tokens=1_000_000)
    assert cost(long_prompt, price_of("claude-sonnet-4-6", at=datetime(2026, 3, 12, tzinfo=UTC))) == 6
    assert cost(long_prompt, price_of("claude-sonnet-4-6", at=datetime(2026, 3, 13, tzinfo=UTC))) == 3


def test_without_a_time_todays_price_is_meant() -> None:
    assert price_of("claude-sonnet-5-5") == price_of("claude-sonnet-5-5", at=datetime.now(UTC))


# --- unknown models and prices of one's own ---


@pytest.mark.parametrize(
    "model, near",
    [
        ("claude-sonet-5-5", "claude-sonnet-5-5"),
        ("claude-mythos-5", "claude-mythos-5-2"),
        ("claude-sonnet-4-5-typo", "claude-sonnet-4-5"),
        ("claude-sonnet-4-55", "claude-sonnet-4-5"),
    ],
)
def test_an_unknown_model_is_refused_with_the_nearest_and_the_way_out(model: str, near: str) -> None:
    with pytest.raises(ConfigError, match=f"'{model}'; did you mean '{near}'.*in the spec under `prices:`"):
        price_of(model)


@pytest.mark.parametrize(
    "model",
    [
        "claude-3-5-sonnet-20241022",
        "claude-3-7-sonnet-latest",
        "claude-sonnet-4-20250514",
        "claude-sonnet-4@20250514",
        "claude-4-5-haiku",
        "claude-opus-5-2026-01-01",
    ],
)
def test_a_model_is_known_by_its_date_and_its_other_spellings_too(model: str) -> None:
    assert price_of(model).input > 0


def test_overrides_price_an_unknown_model_by_anthropics_ratios() -> None:
    given_prices = PriceOverride.model_validate({"input": 0.4, "output": 1.6})  # floats, as YAML gives them
    assert price_of("local-model", overrides=given_prices).text == "0.4/1.6/0.5/0.8/0.04"


def test_overrides_replace_published_prices() -> None:
    given_prices = PriceOverride.model_validate(
        {"input": 0, "output": "1", "cache_write_5m": 2, "cache_write_1h": 3, "cache_read": 4}
    )
    assert price_of("claude-haiku-5-5", overrides=given_prices).text == "0/1/2/3/4"


@pytest.mark.parametrize(
    "wrong",
    [
        {"input": 1},
        {"output": 1},
        {"input": -1, "output": 1},
        {"input": 1, "output": 1, "cache_read": "-0.1"},
        {"input": "NaN", "output": 1},
        {"input": "1e999999999", "output": 1},
        {"input": "0.0000001", "output": 1},
        {"input": "0.000001", "output": 1},  # a tenth of it for a cache read is finer than a pico-dollar
        {"input": 1, "output": "0.000001", "batch": "0.5"},  # its half through the batch API
        {"input": 1, "output": 1, "batch": 0},
        {"input": 1, "output": 1, "batch": 2},
        {"input": 1, "output": 1, "batch_discount": 0.5},
    ],
)
def test_overrides_that_cannot_be_exact_or_right_are_refused_when_read(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PriceOverride.model_validate(wrong)


# --- money as integers, prices as text ---


@given(st.integers(-(10**24), 10**24))
def test_pico_dollars_go_to_dollars_and_back(amount: int) -> None:
    assert pico(usd(amount)) == amount


@pytest.mark.parametrize("amount, text", [(0, "0"), (34_500_000_000, "0.0345"), (-(10**12), "-1"), (10**14, "100"), (1, "1E-12")])
def test_dollars_have_no_trailing_zeros(amount: int, text: str) -> None:
    assert str(usd(amount)) == text


@pytest.mark.parametrize("amount", ["1e-13", "0.0000000000001", "1.0000000000005", "NaN"])
def test_dollars_finer_than_a_pico_dollar_are_refused(amount: str) -> None:
    with pytest.raises(ValueError):
        pico(Decimal(amount))


def test_a_price_finer_than_a_pico_dollar_a_token_is_refused() -> None:
    with pytest.raises(ValueError, match="1E-7 is not a whole number of 1/1,000,000"):
        Price(Decimal(1), Decimal("1e-7"), Decimal(1), Decimal(1), Decimal(1))


@given(prices)
def test_a_price_is_read_back_from_its_text(price: Price) -> None:
    assert Price.parse(price.text) == price


@pytest.mark.parametrize("text", ["", "2", "2/10/2.5/4", "2/10/2.5/4/x", "2/10/2.5/4/0.1>", "2/10/2.5/4/0.1>7", "1/1/1/1/inf"])
def test_a_text_that_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a price such as"):
        Price.parse(text)


def test_the_price_list_is_not_loaded_before_a_price_is_asked_for() -> None:
    check = "import sys, convoforge.pricing; sys.exit('genai_prices' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (None, "-"),
        ("0", "$0.00"),
        ("0.3738444", "$0.37"),
        ("1234.5", "$1,234.50"),
        ("0.0100", "$0.01"),
        ("0.00999", "$0.01"),
        ("0.0042", "$0.0042"),
        ("0.000001", "less than $0.0001"),
        ("-0.0042", "$-0.0042"),
    ],
)
def test_an_amount_has_one_form_and_is_never_nothing_where_it_is_something(amount: str | None, shown: str) -> None:
    assert dollars(None if amount is None else Decimal(amount)) == shown
