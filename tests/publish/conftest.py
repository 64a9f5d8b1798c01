"""Rows and a dataset's folder to publish them in."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from convoforge.models import Conversation, Quality, ScorerResult, Turn
from convoforge.publish import GROUP_KEYS, Layout, Lineage, Published, PublishedRow, outline, publish

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when datasets is imported

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)

LINEAGE = Lineage(
    run_id="run-1",
    spec_sha256="5" * 64,
    spec_text="name: advice\nseed: 7\n",
    provider="anthropic",
    model="claude-sonnet-5-5",
    package_version="0.1.0",
    templates={"advice": "7" * 64},
    counts={"planned": 12, "stale": 2},
)


def talk(*contents: str, system: str | None = "You advise.") -> Conversation:
    """A conversation whose turns alternate from the user on."""
    return Conversation(tuple(Turn("assistant" if n % 2 else "user", text) for n, text in enumerate(contents)), system)


PARTS = {"turns": (2, 3), "length": (2, 3), "structure": (4, 4)}


def make_row(number: int = 0, **changes: Any) -> PublishedRow:
    """An accepted row; another number is another conversation, in one of 12 groups of persona and topic."""
    persona, topic = changes.get("persona", f"Persona {number % 3}"), changes.get("topic", f"Topic {number % 4}")
    row = PublishedRow(
        conversation_id=f"{number:024x}",
        conversation=talk(f"Question {number}?", "An answer.", "And then?", f"Then {number}."),
        template="advice",
        template_version="1.0",
        persona=persona,
        emotion="Calm",
        topic=topic,
        tier="template",
        quality=Quality(8, tuple(ScorerResult(name, 1, *points, None) for name, points in PARTS.items())),
        provider="anthropic",
        model="claude-sonnet-5-5",
        prompt_sha256="a" * 64,
        api_request_id=f"req_{number}",
        input_tokens=100,
        output_tokens=200,
        cost_usd=Decimal("0.001234567891"),
        run_id="run-1",
        generated_at=NOON,
        split_group=f"{persona} | {topic}",
    )
    return replace(row, **changes)


def make_rows(number: int, **changes: Any) -> list[PublishedRow]:
    """That many accepted rows."""
    return [make_row(n, **changes) for n in range(number)]


class Dataset:
    """A dataset in a data folder, with its version numbers."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.reserve: Callable[[], int] = count(1).__next__

    def publish(self, rows: Sequence[PublishedRow], revise: Iterable[PublishedRow] = (), **changes: Any) -> Published:
        """Publishes; without a fingerprint of its own every call has different content. With `accepted` of other rows, `rows` are planned."""
        values: dict[str, Any] = {
            "accepted": lambda: iter(rows),
            "groups": outline((row.split_group, [getattr(row, name) for name in GROUP_KEYS]) for row in rows),
            "revise": lambda: iter(revise),
            "reserve": self.reserve,
            "fingerprint": os.urandom(8).hex(),
            "scorers": "turns=1,length=1,structure=1",
            "fractions": {"train": 0.75, "validation": 0.25},
            "group_by": ("persona", "topic"),
            "seed": 7,
            "lineage": LINEAGE,
            "created_at": NOON,
        }
        return publish(self.layout, **{**values, **changes})

    @property
    def folder(self) -> Any:
        """Where `latest` is."""
        return self.layout.data / self.layout.folder

    @property
    def versions(self) -> Any:
        """Where the versions are."""
        return self.layout.data / self.layout.versions

    @property
    def latest(self) -> str | None:
        """The version that `latest` leads to."""
        link = self.folder / "latest"
        return Path(os.readlink(link)).name if link.is_symlink() else None

    @property
    def visible(self) -> list[str]:
        """What a visitor sees in both folders."""
        paths = [*self.folder.iterdir(), *self.versions.iterdir()]
        return sorted(path.name for path in paths if not path.name.startswith("."))

    @property
    def staged(self) -> list[str]:
        """What is being staged, or was left behind."""
        return [path.name for path in self.versions.glob(".staging-*")]


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """No file of this process can grow beyond `size` bytes: to who writes it is a disk that is full (EFBIG in the place of ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture(scope="session", name="talk")
def talk_() -> Callable[..., Conversation]:
    return talk


@pytest.fixture(scope="session", name="make_row")
def make_row_() -> Callable[..., PublishedRow]:
    return make_row


@pytest.fixture(scope="session", name="make_rows")
def make_rows_() -> Callable[..., list[PublishedRow]]:
    return make_rows


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return Dataset(Layout(tmp_path / "data", "datasets", "advice"))


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """`datasets.load_dataset`, offline, with one cache for the whole test."""
    import datasets  # type: ignore[import-untyped]

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()
    loader: Callable[..., Any] = datasets.load_dataset
    return loader
