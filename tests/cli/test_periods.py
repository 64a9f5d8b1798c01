"""Periods as people and programs write them: whatever is a date ends in an answer, whatever is none in one line."""

from __future__ import annotations

import json

import pytest

from convoforge.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["costs", *arguments])
    done = capsys.readouterr()
    return ended.value.code, done.out, done.err


@pytest.mark.parametrize(
    "period",
    [
        ["--to", "9999-12-31"],
        ["--to", "9999-12-31T23:59:59.999999"],
        ["--to", "9999-12-31T23:59-14:00"],
        ["--from", "9999-12-31"],
        ["--from", "0001-01-01"],
        ["--from", "0001-01-01T00:00+14:00"],
        ["--to", "0001-01-01"],
        ["--from", "0001-01-01", "--to", "9999-12-31"],
        ["--from", "9999-12-30", "--to", "9999-12-31"],
        ["--from", "20260101", "--to", "2026-W05-1"],
        ["--from", "2026-01-31", "--to", "2026-01-31"],
    ],
)
def test_every_date_of_the_calendar(capsys: pytest.CaptureFixture[str], period: list[str]) -> None:
    code, out, err = run(capsys, *period, "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["attempts"] == 0
    assert run(capsys, *period, "--by", "day")[0] == 0


@pytest.mark.parametrize(
    "period",
    [
        ["--from", "2026-02-01", "--to", "2026-01-01"],
        ["--from", "9999-12-31", "--to", "9999-01-01"],
        ["--from", "0000-01-01"],
        ["--to", "10000-01-01"],
        ["--to", "-0001-01-01"],
        ["--to", "2026-02-30"],
        ["--to", "2026-01-01T25:00"],
        ["--to", ""],
        ["--to", "\x1b[2J\nmorning"],
        ["--to", "now"],
        ["--to", "٢٠٢٦-01-01"],
        ["--to", "9" * 5000],
    ],
)
def test_what_is_no_period_is_one_line(capsys: pytest.CaptureFixture[str], period: list[str]) -> None:
    code, out, err = run(capsys, *period, "--json")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("convoforge: ")
    assert err.rstrip("\n").isprintable()
    assert json.loads(out)["exit_code"] == 2
    assert "Traceback" not in err
