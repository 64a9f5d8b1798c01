"""Publishing: accepted conversations become an immutable, loadable version of a dataset. Values in, files out.

data/datasets/NAME/
├── v0001/
│   ├── README.md                            the card: how to load it, what is in it, where it is from
│   ├── manifest.json                        the same for programs, with the hash of every file
│   ├── data/train-00000-of-00001.parquet    what trains
│   └── revise/needs_revision.parquet        what was not accepted, and why
└── latest → v0001

In an object store (`ObjectFolder`) it is the same, but for `latest`: there `LATEST` is a file that holds the name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePath

from convoforge.errors import ConfigError, nearest
from convoforge.publish import card, measures, parquet, splits
from convoforge.publish import manifest as manifests
from convoforge.publish.manifest import Lineage, Manifest, Recipe
from convoforge.publish.objects import ObjectVersions
from convoforge.publish.parquet import Rows
from convoforge.publish.rows import GROUP_KEYS, PublishedRow
from convoforge.publish.versions import LocalVersions, Versions
from convoforge.settings import Folder, ObjectFolder

__all__ = ["Lineage", "Published", "PublishedRow", "Rows", "check_store", "publish", "versions_in"]


@dataclass(frozen=True, slots=True)
class Published:
    """The version that holds the rows now. `version` and `path` are None, `sha256` empty, where there was no row to publish;
    `unchanged` says that the version was there before; `notes` are for a person.
    """

    version: int | None
    path: Folder | None
    rows: int
    splits: Mapping[str, int]
    unchanged: bool
    notes: tuple[str, ...]
    sha256: str


def publish(
    folder: Folder,
    *,
    accepted: Rows,
    revise: Rows,
    reserve: Callable[[], int],
    fingerprint: str,
    fractions: Mapping[str, float],
    group_by: Sequence[str],
    seed: int,
    lineage: Lineage,
    created_at: datetime,
    allow_fewer: bool = False,
    max_file_bytes: int = 100_000_000,
) -> Published:
    """Publishes `accepted` as the next version in `folder` (its name is the dataset's), unless the newest holds them already.

    `fingerprint` stands for the content of `accepted`; with the same one, and the same splits, nothing is written and `latest`
    is put right. `revise` goes beside the data, where no split loads it. `reserve` gives the next version number, never one
    twice. `latest` follows, though to fewer rows only with `allow_fewer`. Killed at any moment, it leaves no half version.

    In an object store, where nothing locks, two publishers of the same content at the same moment may make a version each.

    Raises GenerationValidationError for a row that must not be trained on, ConfigError for a name or splits that cannot work,
    LedgerError for rows or numbers that contradict the ones before, ConvoforgeError where an object store fails.
    """
    _check(folder.name, fractions, group_by)
    recipe = Recipe(fingerprint=fingerprint, fractions=fractions, group_by=tuple(group_by), seed=seed)

    versions = versions_in(folder)
    with versions.lock():
        if held := _held(versions, recipe, allow_fewer):
            return held

    with versions.staging() as stage:
        data = parquet.write_splits(stage / "data", accepted, recipe, lineage.provider, max_file_bytes)
        if not data.rows:
            return Published(None, None, 0, {}, False, ("nothing is published: no conversation is accepted",), "")
        beside = parquet.write_revise(stage / "revise" / "needs_revision.parquet", revise, recipe.group_by)
        figures = measures.measure(data.files, beside)
        files = manifests.describe(stage, "*/*.parquet")
        sha256 = manifests.data_sha256(files)

        with versions.lock():
            if held := _held(versions, recipe, allow_fewer):  # another publisher was faster
                return held
            number = versions.next_number(reserve)
            manifest = Manifest(
                dataset=folder.name,
                version=number,
                config_name=manifests.config_name(folder.name, number, sha256),
                created_at=created_at,
                provider=lineage.provider,
                rows=sum(data.rows.values()),
                splits=data.rows,
                needs_revision=figures.statuses["needs_revision"],
                dropped=figures.statuses["dropped"],
                data_sha256=sha256,
                files=files,
                recipe=recipe,
                allow_fewer=allow_fewer,
                notes=data.notes,
                lineage=lineage,
            )
            (stage / card.NAME).write_text(card.render(manifest, figures, _shown(folder, number)), encoding="utf-8")
            manifest = manifest.model_copy(update={"files": (*files, *manifests.describe(stage, card.NAME))})
            (stage / manifests.NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
            path = versions.reveal(stage, number)
            return _published(path, manifest, versions.follow(number, allow_fewer=allow_fewer), unchanged=False)


def versions_in(folder: Folder) -> Versions:
    """The versions of the dataset whose folder this is. Raises ConfigError for an object store that cannot be opened."""
    return ObjectVersions(folder) if isinstance(folder, ObjectFolder) else LocalVersions(folder)


def check_store(folder: Folder) -> None:
    """Raises ConvoforgeError where a dataset's object store cannot be opened or read: better told before paying than after."""
    if isinstance(folder, ObjectFolder):
        ObjectVersions(folder).sizes()


def _shown(folder: Folder, number: int) -> str:
    """Where a version lies, as a person would write it."""
    base = folder.url if isinstance(folder, ObjectFolder) else PurePath(*folder.parts[-3:]).as_posix()
    return f"{base}/v{number:04d}"


def _check(name: str, fractions: Mapping[str, float], group_by: Sequence[str]) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
        raise ConfigError(f"'{name}' cannot name a dataset: use letters, digits, - and _ only.")
    splits.check_fractions(fractions)
    if not group_by:
        raise ConfigError("group_by is empty: without a group, near-copies land on both sides of a split.")
    for key in group_by:
        if key not in GROUP_KEYS:
            raise ConfigError(f"'{key}' cannot group conversations{nearest(key, GROUP_KEYS)}")


def _held(versions: Versions, recipe: Recipe, allow_fewer: bool) -> Published | None:
    """The newest good version, if it is what would be published."""
    newest = next(reversed(versions.good()), None)
    if newest is None or (newest.manifest.format_version, newest.manifest.recipe) != (manifests.FORMAT, recipe):
        return None
    note = versions.follow(newest.manifest.version, allow_fewer=allow_fewer)
    return _published(newest.path, newest.manifest, note, unchanged=True)


def _published(path: Folder, manifest: Manifest, note: str | None, *, unchanged: bool) -> Published:
    notes = (*manifest.notes, *filter(None, [note]))
    return Published(manifest.version, path, manifest.rows, manifest.splits, unchanged, notes, manifest.data_sha256)
