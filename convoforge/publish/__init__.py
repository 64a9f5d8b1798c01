"""Publishing: accepted conversations become an immutable, loadable version of a dataset. Values in, files out.

Where they lie is in `layout`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from convoforge.errors import ConfigError, nearest
from convoforge.planning.quality import NearDuplicates
from convoforge.publish import card, croissant, measures, parquet, report, splits
from convoforge.publish import manifest as manifests
from convoforge.publish.layout import Layout
from convoforge.publish.manifest import Lineage, Manifest, Recipe, SplitRule
from convoforge.publish.objects import ObjectVersions
from convoforge.publish.parquet import Rows
from convoforge.publish.report import LedgerFacts
from convoforge.publish.rows import GROUP_KEYS, PublishedRow, columns_sha256, group_key
from convoforge.publish.splits import find_torn, join_alike, outline
from convoforge.publish.versions import LocalVersions, Version, Versions
from convoforge.reasons import Reason
from convoforge.settings import Folder, ObjectFolder

__all__ = [
    "GROUP_KEYS",
    "Layout",
    "Lineage",
    "Published",
    "PublishedRow",
    "Rows",
    "SplitRule",
    "check_store",
    "find_groups",
    "find_torn",
    "group_key",
    "join_alike",
    "outline",
    "publish",
    "read_placed",
    "versions_in",
]


@dataclass(frozen=True, slots=True)
class Published:
    """The version that holds the rows now. `version` and `path` are None, `sha256` empty, where there was no row to publish;
    `unchanged` says that the version was there before; `notes` are for a person.

    `latest` is the version that `latest` leads to, `behind` why that is an older one. `load_path` is what to load for the rows of this one.
    `plots` are the main charts of a version that is new: SVG, by name.
    """

    version: int | None
    path: Folder | None
    rows: int
    splits: Mapping[str, int]
    unchanged: bool
    notes: tuple[str, ...]
    sha256: str
    latest: int | None = None
    behind: str | None = None
    load_path: Folder | None = None
    plots: Mapping[str, str] = field(default_factory=dict)


def publish(
    layout: Layout,
    *,
    accepted: Rows,
    groups: splits.Outline,
    revise: Rows,
    reasons: Callable[[], Sequence[Reason]] = tuple,
    reserve: Callable[[], int],
    fingerprint: str,
    scorers: str,
    near_duplicates: NearDuplicates | None = None,
    fractions: Mapping[str, float],
    group_by: Sequence[str],
    seed: int,
    lineage: Lineage,
    created_at: datetime,
    license: str | None = None,
    languages: Sequence[str] = ("en",),
    facts: Callable[[], LedgerFacts] = LedgerFacts,
    notes: Sequence[str] = (),
    allow_fewer: bool = False,
    max_file_bytes: int = 100_000_000,
) -> Published:
    """Publishes `accepted` as the next version of the dataset that `layout` is of, unless one holds them already.

    `fingerprint` stands for the content of `accepted`, `scorers` are names and versions; with the same ones, the same rule for
    near-duplicates, splits and columns, nothing is written and `latest` is put right. `revise` goes into a file of its own, where no
    reader of the version meets it. `reasons` say why, and `facts` what the ledger knows; both are asked for only where a version is made.
    `reserve` gives the next version number, never one twice. `latest` follows, though to far fewer rows only with `allow_fewer`. Killed at
    any moment, it leaves no half version.

    In an object store, where nothing locks, two publishers of the same content at the same moment may make a version each.

    `groups` are the groups of `accepted`, from which the splits are planned before a row is read. A group that an earlier version of the
    same fractions, `group_by` and seed has stays in its split, also where it has no rows in between.

    Raises GenerationValidationError for a row that must not be trained on, ConfigError for a name or splits that cannot work,
    LedgerError for rows or numbers that contradict the ones before, ConvoforgeError where an object store fails.
    """
    _check(layout.name, fractions, group_by)
    recipe = Recipe(
        fingerprint=fingerprint,
        fractions=fractions,
        group_by=tuple(group_by),
        seed=seed,
        columns_sha256=columns_sha256(),
        scorers=scorers,
        license=license,
        languages=tuple(languages),
        near_duplicates=near_duplicates,
    )

    versions = versions_in(layout)
    while True:
        with versions.lock():
            if held := _held(versions, recipe, allow_fewer):
                return held
            placed, changes = _read_groups(versions, recipe)

        with versions.staging() as stage:
            plan = splits.assign(groups, fractions, seed=seed, placed=placed)
            data = parquet.write_splits(
                stage.version / "data", accepted, [*fractions], plan.groups, lineage.provider, max_file_bytes
            )
            if not data.rows:
                return _nothing(versions)
            beside = parquet.write_rejected(stage.rejected, revise)
            figures = measures.measure(data.files, beside)
            insight, known = report.read_insight(data.files, beside, figures, seed), facts()
            files = manifests.describe(stage.version, "*/*.parquet")
            sha256 = manifests.data_sha256(files)

            with versions.lock():
                if held := _held(versions, recipe, allow_fewer):  # another publisher was faster
                    return held
                placed, changes = _read_groups(versions, recipe)
                if any(placed.get(group, split) != split for group, split in plan.groups.items()):
                    continue  # another publisher has placed a new group otherwise
                number = versions.next_number(reserve)
                before = versions.good()[-1:]
                manifest = Manifest(
                    dataset=layout.name,
                    version=number,
                    config_name=manifests.config_name(layout.name, number, sha256),
                    created_at=created_at,
                    provider=lineage.provider,
                    rows=sum(data.rows.values()),
                    splits=data.rows,
                    needs_revision=figures.statuses["needs_revision"],
                    dropped=figures.statuses["dropped"] + figures.statuses["failed"],
                    refused=figures.statuses["failed"],
                    reasons=tuple(reasons()),
                    data_sha256=sha256,
                    files=files,
                    rejected=manifests.describe_one(beside, layout.rejected(number)) if beside else None,
                    recipe=recipe,
                    allow_fewer=allow_fewer,
                    notes=(*notes, *changes, *plan.notes),
                    lineage=lineage,
                    diversity=insight.variety.overall,
                )
                _write_groups(stage.version, {**placed, **plan.groups})
                texts = {
                    card.NAME: card.render(manifest, figures, known, layout.shown(number)),
                    croissant.NAME: croissant.render(manifest),
                    report.NAME: report.render(manifest, figures, insight, known, before[0].manifest if before else None),
                }
                for name, text in texts.items():
                    (stage.version / name).write_text(text, encoding="utf-8")
                manifest = manifest.model_copy(update={"files": (*files, *manifests.describe(stage.version, "*.*"))})
                (stage.version / manifests.NAME).write_text(manifest.model_dump_json(indent=2) + "\n", encoding="utf-8")
                path = versions.make_visible(stage, number)
                published = _published(versions, path, manifest, allow_fewer, unchanged=False)
                return replace(published, plots=report.draw_plots(figures))


def versions_in(layout: Layout) -> Versions:
    """The versions of a dataset. Raises ConfigError for an object store that cannot be opened."""
    data = layout.data
    return ObjectVersions(layout, data) if isinstance(data, ObjectFolder) else LocalVersions(layout, data)


def find_groups(layout: Layout, ids: AbstractSet[str], rule: SplitRule) -> dict[str, str]:
    """The groups with which some conversations were published last, by id, in versions that were split by the same rule."""
    versions, found = versions_in(layout), dict[str, str]()
    for version in _split_alike(versions.good(), rule):
        for file in version.manifest.files:
            if file.path.startswith("data/") and (missing := ids - found.keys()):
                with versions.open(version, file.path) as opened:
                    found |= parquet.read_groups(opened, missing)
    return found


def read_placed(layout: Layout, rule: SplitRule) -> dict[str, str]:
    """The split of each group that a version that was split by the same rule has ever had."""
    return _read_groups(versions_in(layout), rule)[0]


def check_store(layout: Layout) -> None:
    """Raises ConvoforgeError where a dataset's object store cannot be opened or read: better before paying than after."""
    if isinstance(layout.data, ObjectFolder):
        ObjectVersions(layout, layout.data).sizes()


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
    """The newest good version that is what would be published: equal data makes no second version."""
    good = versions.good()
    for version in reversed(good):
        if (version.manifest.format_version, version.manifest.recipe) == (manifests.FORMAT, recipe):
            back = version is not good[-1]
            return _published(versions, version.path, version.manifest, allow_fewer, unchanged=True, back=back)
    return None


def _read_groups(versions: Versions, rule: SplitRule) -> tuple[dict[str, str], list[str]]:
    """Where each group of the earlier versions with these splits went, and a note where the newest version has other splits, or does not
    say which groups are in them."""
    good = versions.good()
    notes = []
    if good and (changes := rule.list_changes(good[-1].manifest.recipe)):
        which = " and ".join(changes)
        notes.append(f"{which} changed since {good[-1].path.name}: conversations may be in another split")
    elif good and not _has_groups(good[-1]):
        notes.append(
            f"{good[-1].path.name} has no {manifests.GROUPS}: conversations that are in it alone may be in another split"
        )
    same = next(_split_alike(good, rule), None)
    if same is None:
        return {}, notes
    with versions.open(same, manifests.GROUPS) as file:
        return {group: split for split, groups in json.load(file).items() for group in groups}, notes


def _split_alike(good: Sequence[Version], rule: SplitRule) -> Iterator[Version]:
    """The versions that are split by the same rule, newest first."""
    for version in reversed(good):
        if not rule.list_changes(version.manifest.recipe) and _has_groups(version):
            yield version


def _has_groups(version: Version) -> bool:
    return any(file.path == manifests.GROUPS for file in version.manifest.files)


def _write_groups(folder: Path, placed: Mapping[str, str]) -> None:
    found = {split: sorted(group for group, owner in placed.items() if owner == split) for split in sorted({*placed.values()})}
    (folder / manifests.GROUPS).write_text(json.dumps(found, indent=0, ensure_ascii=False) + "\n", encoding="utf-8")


def _nothing(versions: Versions) -> Published:
    note, behind = "nothing is published: no conversation is accepted", None
    latest = versions.current()
    if latest is not None:
        behind = f"latest stays at {latest.path.name} ({latest.manifest.rows:,} rows), of which nothing is accepted today"
    number = latest.manifest.version if latest else None
    return Published(None, None, 0, {}, False, (note, *filter(None, [behind])), "", latest=number, behind=behind)


def _published(
    versions: Versions, path: Folder, manifest: Manifest, allow_fewer: bool, *, unchanged: bool, back: bool = False
) -> Published:
    latest = versions.move_latest(manifest.version, allow_fewer=allow_fewer, back=back)
    leads_here = latest.version.manifest.version == manifest.version
    return Published(
        manifest.version,
        path,
        manifest.rows,
        manifest.splits,
        unchanged,
        (*manifest.notes, *filter(None, [latest.note, versions.note_mixed()])),
        manifest.data_sha256,
        latest=latest.version.manifest.version,
        behind=latest.note,
        load_path=versions.latest_path(latest.version) if leads_here else path,
    )
