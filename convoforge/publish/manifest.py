"""What a version says about itself to a program: `manifest.json`, written last, so that a version without it is none."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from pydantic import ConfigDict, Field

from convoforge.models import Frozen, Provider
from convoforge.planning.quality import NearDuplicates
from convoforge.publish.variety import Diversity
from convoforge.reasons import Reason

NAME = "manifest.json"
GROUPS = "groups.json"
"""The groups of each split, those of earlier versions as well: whatever comes back goes where it was."""
FORMAT = 2
"""1 had what was not accepted inside the version, among `files`."""


class Lineage(Frozen):
    """Where a version comes from. `templates` maps a template's name to the hash of its text; `counts` are of the dataset as it
    stands (planned, stale, exhausted …); `axes` are the values that were planned, so that the card can show the ones without a row;
    `judge` says which model has judged the rows, and whether it is calibrated, if one has.
    """

    run_id: str
    spec_sha256: str
    spec_text: str
    provider: Provider
    model: str
    package_version: str
    templates: Mapping[str, str] = Field(default_factory=dict)
    counts: Mapping[str, int] = Field(default_factory=dict)
    axes: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    judge: str = ""


class SplitRule(Frozen):
    """What decides which split a group goes to, beside the groups themselves."""

    fractions: Mapping[str, float]
    group_by: tuple[str, ...]
    seed: int

    def list_changes(self, earlier: SplitRule) -> list[str]:
        """What of it is another than in an earlier version."""
        return [name for name in SplitRule.model_fields if getattr(self, name) != getattr(earlier, name)]


class Recipe(SplitRule):
    """What decides the content of a version: equal recipes make equal data. `fingerprint` stands for the accepted rows, `columns_sha256`
    for the columns of a file, `scorers` are the names and versions of what has scored them, `near_duplicates` what counted as a
    repetition. Older releases wrote none of the last three. `license` and `languages` change no row, but what the card says of them all.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")  # as the manifest's

    fingerprint: str
    columns_sha256: str = ""
    scorers: str = ""
    license: str | None = None
    languages: tuple[str, ...] = ("en",)
    near_duplicates: NearDuplicates | None = None


class File(Frozen):
    """A file. `path` is relative to its version."""

    path: str
    bytes: int
    sha256: str


class Manifest(Frozen):
    """One version. `rejected` is the file with what was not accepted; it is no part of the version, and its path is relative to the data
    folder. `dropped` counts `refused` requests, too, which the API rejected; `reasons` say what happened, how often, and what to do.
    `splits` count rows; `data_sha256` is over the files in `data/`: what `sha256sum data/* | sha256sum` prints."""

    model_config = ConfigDict(frozen=True, extra="ignore")  # an older release must still take a newer version for a good one

    format_version: int = FORMAT
    dataset: str
    version: int
    config_name: str
    created_at: datetime
    provider: Provider
    rows: int
    splits: Mapping[str, int]
    needs_revision: int
    dropped: int
    refused: int = 0
    reasons: tuple[Reason, ...] = ()
    data_sha256: str
    files: tuple[File, ...]
    rejected: File | None = None
    recipe: Recipe
    allow_fewer: bool
    notes: tuple[str, ...]
    lineage: Lineage
    diversity: Diversity | None = None

    @property
    def authorship(self) -> str:
        """What goes before the names of models: no model wrote what is simulated."""
        return "made up by a local simulator in the place of" if self.provider == "simulator" else "written by"


def describe(folder: Path, pattern: str) -> tuple[File, ...]:
    """The files in `folder` whose paths match, in the order of their paths."""
    return tuple(describe_one(path, path.relative_to(folder).as_posix()) for path in sorted(folder.glob(pattern)))


def describe_one(path: Path, name: str) -> File:
    """The file at `path`, by the path it is to be known by."""
    return File(path=name, bytes=path.stat().st_size, sha256=_sha256(path))


def data_sha256(files: Iterable[File]) -> str:
    """One hash over all training data among `files`."""
    lines = [f"{file.sha256}  {file.path}\n" for file in files if file.path.startswith("data/")]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def config_name(dataset: str, version: int, sha256: str) -> str:
    """The name under which `datasets` caches a version: it must be unique, or an older version is what gets loaded."""
    return f"{dataset}-v{version:04d}-{sha256[:8]}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
