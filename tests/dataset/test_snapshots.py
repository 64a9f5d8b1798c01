"""Snapshots that are kept: what cannot be made, what is let go, and how old a plan may be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from recorded import Dataset
from viewing import SPEC

from convoforge.dataset import snapshots
from convoforge.dataset.snapshot import make_snapshot
from convoforge.dataset.snapshots import Glance, Snapshots
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.settings import Settings


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Snapshots]:
    settings = Settings(data_dir=tmp_path)
    with Ledger(settings.database_url) as ledger, Snapshots(ledger, settings) as opened:
        for provider in ("anthropic", "simulator"):
            Dataset(ledger, provider).build(SPEC)
        yield opened


def count_calls(monkeypatch: pytest.MonkeyPatch, made: Callable[..., Any]) -> list[str]:
    calls: list[str] = []
    monkeypatch.setattr(snapshots, "make_snapshot", lambda *given, **how: calls.append(given[3]) or made(*given, **how))
    return calls


def wait_for(kept: Snapshots, provider: Any) -> Glance:
    for _ in range(2_000):
        if not (glance := kept.peek("sheep", provider)).is_coming:
            return glance
        time.sleep(0.005)
    raise AssertionError("it never comes")


def test_what_cannot_be_made_is_not_tried_with_every_look(kept: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise ConfigError("a template is gone")

    calls = count_calls(monkeypatch, fail)
    assert kept.peek("sheep", "anthropic").is_coming
    assert [wait_for(kept, "anthropic") for _ in range(3)] == 3 * [Glance(None, is_coming=False, has_failed=True)]
    assert len(calls) == 1
    monkeypatch.setattr(snapshots, "MAX_AGE_SECONDS", 0.0)
    assert kept.peek("sheep", "anthropic").is_coming, "later it is tried again"


def test_what_was_let_go_for_others_comes_when_it_is_asked_for(kept: Snapshots, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = count_calls(monkeypatch, make_snapshot)
    monkeypatch.setattr(snapshots, "MAX_ROWS", 20)  # of two times 16
    assert wait_for(kept, "anthropic").snapshot is not None
    assert wait_for(kept, "simulator").snapshot is not None
    gone = Glance(None, is_coming=False, has_failed=False)
    assert [kept.peek("sheep", "anthropic") for _ in range(3)] == [gone, gone, gone]
    assert calls == ["anthropic", "simulator"]
    assert kept.get("sheep", "anthropic").frame.height == 16
    assert kept.peek("sheep", "anthropic").snapshot is not None and kept.peek("sheep", "simulator") == gone


def test_a_plan_is_made_anew_after_a_while_for_templates_may_have_changed(
    kept: Snapshots, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = kept.get("sheep", "anthropic")
    assert kept.get("sheep", "anthropic", with_texts=True).plan is first.plan
    monkeypatch.setattr(snapshots, "MAX_AGE_SECONDS", 0.0)
    again = kept.get("sheep", "anthropic", wait_seconds=None).plan
    assert again is not first.plan and again == first.plan
