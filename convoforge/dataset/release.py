"""Publishing a dataset from the ledger: the accepted rows of a plan, as a version that trains. Pays nothing."""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import chain
from typing import Any

from convoforge.dataset.acceptance import TORN, DatasetStatus, StatusSummary
from convoforge.dataset.calibration import describe_calibration
from convoforge.dataset.clusters import group_cells, read_placed_status
from convoforge.dataset.ledger_facts import read_ledger_facts
from convoforge.dataset.reasons import of_dataset, read_reasons
from convoforge.dataset.status import find_stale, read_status, score_dataset
from convoforge.errors import ConvoforgeError, format_count
from convoforge.ledger import Ledger
from convoforge.ledger.answers import read_answers, read_published, read_refused
from convoforge.ledger.attempts import read_quality
from convoforge.ledger.reviews import read_edits
from convoforge.ledger.runs import keep_spec, keep_version, read_pseudonym_key, reserve_version
from convoforge.ledger.signatures import mark_published
from convoforge.models import Provider, Status
from convoforge.planning.keys import conversation_id, draw_key
from convoforge.planning.plan import Plan
from convoforge.planning.spec import AXES
from convoforge.pricing import usd
from convoforge.publish import GROUP_KEYS, Layout, Lineage, Published, PublishedRow, check_store, group_key, outline, publish
from convoforge.scoring import Rubric, ScoringContext
from convoforge.settings import Folder

_MARKED_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class _Chosen:
    """What a version is to hold: the requests of its rows, those beside it and why they are there. Of a large dataset's status nothing
    else stays in memory while rows are written: its numbers are copied, as one that is kept keeps a block of a thousand from being freed.
    """

    accepted: array[int]
    revise: array[int]
    refused: array[int]
    why: Sequence[tuple[Status, str]]
    groups: Mapping[str, tuple[int, int]]
    joined: Mapping[int, str]
    notes: Sequence[str]
    fingerprint: str
    summary: StatusSummary


def dataset_layout(data_dir: Folder, name: str, provider: Provider) -> Layout:
    """Where a dataset lies; simulated ones apart from real ones, always."""
    return Layout(data_dir, "simulated" if provider == "simulator" else "datasets", name)


def check_data_folder(data_dir: Folder, plan: Plan) -> None:
    """Raises ConvoforgeError where the plan's dataset lies in an object store that does not answer."""
    check_store(dataset_layout(data_dir, plan.spec.name, plan.provider))


def publish_again(
    ledger: Ledger, plan: Plan, dataset_id: int, data_dir: Folder, *, allow_fewer: bool = False
) -> tuple[Published, StatusSummary]:
    """Score what has no score of today's scorers, keep the plan's spec, and publish outside a run. Raises as `publish_dataset` does."""
    score_dataset(ledger, plan, dataset_id)
    ledger.write(keep_spec, dataset_id, plan.spec)
    stale = len(find_stale(plan, read_status(ledger, plan, dataset_id)))
    return publish_dataset(ledger, plan, dataset_id, data_dir, stale=stale, allow_fewer=allow_fewer)


def publish_dataset(
    ledger: Ledger,
    plan: Plan,
    dataset_id: int,
    data_dir: Folder,
    *,
    stale: int,
    run_id: str | None = None,
    allow_fewer: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> tuple[Published, StatusSummary]:
    """The accepted rows of a plan as a version: the one that holds them already, or a new one. Scored before by `score_dataset`.

    `stale` is how many draws `find_stale` found; the card and the manifest say so. Raises `ConvoforgeError` where the disk is full
    or the folder may not be written, or an object store fails, and what `publish` raises.
    """
    layout = dataset_layout(data_dir, plan.spec.name, plan.provider)
    chosen = _choose(ledger, plan, dataset_id, layout)
    why = dict(zip(chosen.revise, chosen.why, strict=True))
    redacts = any(one.action == "redact" for one in plan.spec.quality.filters)
    make_row = _RowMaker(plan, ledger.read(read_pseudonym_key, dataset_id) if redacts else None)
    try:
        published = publish(
            layout,
            accepted=lambda: _rows(ledger, chosen.accepted, {}, chosen.joined, make_row),
            groups=chosen.groups,
            revise=lambda: chain(
                _rows(ledger, chosen.revise, why, {}, make_row), _refused_rows(ledger, chosen.refused, plan.spec.publish.group_by)
            ),
            reasons=lambda: ledger.read(read_reasons, of_dataset(dataset_id)),
            facts=lambda: ledger.read(read_ledger_facts, plan, dataset_id, chosen.accepted),
            reserve=lambda: ledger.write(reserve_version, dataset_id, run_id, now()),
            fingerprint=chosen.fingerprint,
            scorers=make_row.rubric.version,
            near_duplicates=plan.spec.quality.near_duplicates,
            fractions=plan.spec.publish.splits,
            group_by=plan.spec.publish.group_by,
            seed=plan.spec.seed,
            license=plan.spec.license,
            languages=plan.spec.languages,
            lineage=_lineage(plan, chosen, stale, run_id, describe_calibration(ledger, plan, dataset_id)),
            created_at=now(),
            notes=chosen.notes,
            allow_fewer=allow_fewer,
        )
    except OSError as error:
        raise ConvoforgeError(
            f"nothing is lost, but nothing could be published in {data_dir / layout.folder}: {error}. "
            "Publish or build again once that is mended"
        ) from error
    if published.version is not None:  # also where it is unchanged: a kill between the files and this line is made good
        path = str(published.path)
        for start in range(0, len(chosen.accepted), _MARKED_AT_ONCE):
            ledger.write(mark_published, chosen.accepted[start : start + _MARKED_AT_ONCE], published.version)
        ledger.write(keep_version, dataset_id, published.version, path, published.sha256, published.rows, run_id, now())
    return published, chosen.summary


def _choose(ledger: Ledger, plan: Plan, dataset_id: int, layout: Layout) -> _Chosen:
    values = {cell.key: cell.values for cell in plan.cells}
    groups = group_cells(plan)
    status, joined = read_placed_status(ledger, plan, dataset_id, layout)
    if status.unscored:  # answered since, or scored by another spec
        score_dataset(ledger, plan, dataset_id)
        status, joined = read_placed_status(ledger, plan, dataset_id, layout)
    torn = sum(one.reason.endswith(TORN) for one in status.rejected)
    beside = [one for one in status.rejected if one.draw.kind is not None]
    return _Chosen(
        accepted=array("q", [draw.request_id for draw in status.accepted]),
        revise=array("q", [one.draw.request_id for one in beside]),
        refused=array("q", [one.draw.request_id for one in status.rejected if one.draw.kind is None]),
        why=[(one.status, one.reason) for one in beside],
        groups=outline((joined.get(draw.request_id, groups[draw.cell]), values[draw.cell]) for draw in status.accepted),
        joined=joined,
        notes=(f"left out, as they resemble published ones of another split: {format_count(torn, 'conversation')}",)
        if torn
        else (),
        fingerprint=_fingerprint(status, ledger.read(read_edits, dataset_id)),
        summary=status.summary,
    )


def _lineage(plan: Plan, chosen: _Chosen, stale: int, run_id: str | None, judge: str) -> Lineage:
    spec, summary = plan.spec, chosen.summary
    used = sorted({cell.template for cell in plan.cells})
    return Lineage(
        run_id=run_id or "-",
        spec_sha256=spec.sha256(),
        spec_text=spec.text(),
        provider=plan.provider,
        model=spec.model,
        package_version=version("convoforge"),
        templates={name: plan.library.template(name).sha256 for name in used},
        counts={
            "planned": plan.planned,
            "pending": summary.pending,
            "stale": stale,
            "exhausted": summary.exhausted,
            "near_duplicates": sum(reason.startswith("near-duplicate") for _, reason in chosen.why),
        },
        axes={axis: tuple(getattr(spec.axes, axis)) for axis in AXES},
        judge=judge,
    )


def _fingerprint(status: DatasetStatus, edits: Mapping[int, str]) -> str:
    """Stands for the accepted rows, in any order: a wider plan, of which nothing was made yet, orders the same rows otherwise. `edits` are
    hashes of edited turns: a content hash does not notice a changed case."""
    digest = hashlib.sha256()
    for draw in sorted(status.accepted, key=lambda draw: (draw.cell, draw.draw)):
        fingerprint, content = (one and one.hex() for one in (draw.fingerprint, draw.content_hash))
        edited = f" {edits[draw.request_id]}" if draw.request_id in edits else ""
        digest.update(f"{draw_key(draw.cell, draw.draw)} {fingerprint} {content} {draw.score}{edited}\n".encode())
    return digest.hexdigest()


def _rows(
    ledger: Ledger, ids: Sequence[int], verdicts: Mapping[int, tuple[Status, str]], joined: Mapping[int, str], make_row: _RowMaker
) -> Iterator[PublishedRow]:
    with ledger.engine.execution_options(read_only=True).connect() as connection:
        for row in read_answers(connection, ids):
            yield make_row(row, *verdicts.get(row.id, (Status.ACCEPTED, "")), joined.get(row.id))


def _refused_rows(ledger: Ledger, ids: Sequence[int], group_by: Sequence[str]) -> Iterator[PublishedRow]:
    """Requests that the API refused: without a conversation, with its reason."""
    with ledger.engine.execution_options(read_only=True).connect() as connection:
        for row in read_refused(connection, ids):
            yield PublishedRow(
                **{name: getattr(row, name) for name in ("persona", "emotion", "topic", "tier", "template", "provider", "model")},
                **{name: getattr(row, name) for name in ("api_request_id", "run_id")},
                conversation_id=conversation_id(row.draw_key, row.fingerprint or ""),
                conversation=None,
                template_version="",
                quality=None,
                prompt_sha256=row.fingerprint or "",
                input_tokens=0,
                output_tokens=0,
                cost_usd=usd(row.cost_pico),
                generated_at=row.finished_at,
                split_group=_group_of(row, group_by),
                draw=row.draw + 1,
                status=Status.FAILED,
                reasons=(row.reason or "the API refused the request",),
            )


_COLUMNS = (
    *("conversation_id", "template", "template_version", "persona", "emotion", "topic", "tier", "provider", "model"),
    *("api_request_id", "input_tokens", "output_tokens", "run_id", "generated_at"),
)
"""Columns that are called as the ledger's."""


def _group_of(row: Any, group_by: Sequence[str]) -> str:
    return group_key([getattr(row, name) for name in GROUP_KEYS], group_by)


class _RowMaker:
    """Makes rows of answers. `key` is what pseudonyms are made with, None where personal data is not redacted. Of what is not accepted,
    what no pseudonym can stand for is withheld; what a person has accepted stays."""

    def __init__(self, plan: Plan, key: bytes | None) -> None:
        self.rubric = Rubric.of(plan.spec, plan.library)
        self._spec, self._key = plan.spec, key

    def __call__(self, row: Any, status: Status, why: str, group: str | None) -> PublishedRow:
        """The row of an answer; `group` is the split group that it has joined, if it has."""
        conversation = read_published(row) if row.turns else None
        quality = read_quality(row.score, row.results)
        if conversation and row.edited:  # what a row says is said of its text; no judge has read this one
            context = ScoringContext.of(self._spec.name, row, self._spec.parameters)
            quality = self.rubric.score(conversation, context).quality
        raw_text, aside, key = row.raw_text, status is not Status.ACCEPTED, self._key
        if key is not None and (aside or (quality and any(one.name == "pii" for one in quality.results))):
            from convoforge.scoring.redaction import redact, redact_text  # imports what finds personal data

            conversation = conversation and redact(conversation, key, withhold=aside)
            raw_text = raw_text and redact_text(raw_text, key, withhold=aside)
        reasons = quality.reasons if quality else ()
        drawn = json.loads(row.drawn) if row.drawn else {}
        return PublishedRow(
            **{name: getattr(row, name) for name in _COLUMNS},
            conversation=conversation,
            quality=quality,
            raw_text=raw_text,
            prompt_sha256=row.fingerprint_1,
            cost_usd=usd(row.cost_pico),
            split_group=group or _group_of(row, self._spec.publish.group_by),
            draw=row.draw + 1,
            parameters=drawn.get("parameters"),
            variation=drawn.get("variation"),
            edited=bool(row.edited),
            status=status,
            reasons=tuple(dict.fromkeys((why, *reasons))) if why else (),
        )
