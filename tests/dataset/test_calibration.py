"""A judge beside reviews: agreement and Cohen's κ with its interval, and when it counts as calibrated."""

from __future__ import annotations

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convoforge.dataset.calibration import Agreement, Calibration, measure_agreement


def pairs(both: int, first: int, second: int, neither: int) -> list[tuple[bool, bool]]:
    return [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither


def test_kappa_is_that_of_the_textbook_and_its_interval_that_of_the_delta_method() -> None:
    # 35 of 50 agree and κ is 0.4: the common example. The error is computed here by differences, without the formula in use.
    def compute(both: float, first: float, second: float, neither: float) -> float:
        chance = (both + first) * (both + second) + (second + neither) * (first + neither)
        return (both + neither - chance) / (1 - chance)

    shares, step = [0.4, 0.1, 0.2, 0.3], 1e-6
    slopes = []
    for at in range(4):
        higher, lower = ([share + sign * step * (at == n) for n, share in enumerate(shares)] for sign in (1, -1))
        slopes.append((compute(*higher) - compute(*lower)) / (2 * step))
    mean = sum(share * slope for share, slope in zip(shares, slopes, strict=True))
    error = sqrt((sum(share * slope**2 for share, slope in zip(shares, slopes, strict=True)) - mean**2) / 50)
    found = measure_agreement(pairs(20, 5, 10, 15))
    assert (found.pairs, found.share, found.kappa) == (50, pytest.approx(0.7), pytest.approx(0.4))
    assert found.low == pytest.approx(0.4 - 1.96 * error, abs=1e-4)
    assert found.high == pytest.approx(0.4 + 1.96 * error, abs=1e-4)


def test_where_all_decisions_are_the_same_kappa_is_not_defined() -> None:
    found = measure_agreement(pairs(60, 0, 0, 0))
    assert (found.share, found.kappa, found.is_enough) == (1.0, None, False)
    assert str(measure_agreement([])) == "nothing to compare"


@given(*(st.integers(0, 40) for _ in range(4)))
def test_kappa_lies_in_its_interval_and_is_one_only_where_all_agree(both: int, first: int, second: int, neither: int) -> None:
    found = measure_agreement(pairs(both, first, second, neither))
    if found.kappa is not None and found.low is not None and found.high is not None:
        assert -1 <= found.low <= found.kappa + 1e-9 and found.kappa <= found.high + 1e-9 <= 1 + 2e-9
        assert (found.kappa > 1 - 1e-9) == (first + second == 0)


@pytest.mark.parametrize(
    "counts, calibrated, words",
    [
        ((0, 0, 0, 0), False, "not calibrated: it has judged 0 reviewed conversations, and 50 are needed"),
        ((25, 0, 0, 24), False, "not calibrated: it has judged 49 reviewed conversations"),
        ((25, 0, 0, 25), True, "is calibrated on 50 reviewed conversations: agreement 100%, κ 1.00 (1.00 to 1.00)"),
        ((30, 15, 15, 40), False, "not calibrated: agreement 70%, κ 0.39 (0.21 to 0.57), where κ has to be 0.6 at least"),
        ((45, 5, 5, 45), True, "is calibrated on 100 reviewed conversations: agreement 90%, κ 0.80 (0.68 to 0.92)"),
    ],
)
def test_it_is_calibrated_from_fifty_reviews_and_a_kappa_of_six_tenths_on(
    counts: tuple[int, int, int, int], calibrated: bool, words: str
) -> None:
    found = Calibration(measure_agreement(pairs(*counts)), {"talk": Agreement(0)}, ())
    assert found.verdict.is_enough is calibrated
    assert words in str(found)
    assert found.as_json()["calibrated"] is calibrated
