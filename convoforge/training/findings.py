"""What is wrong with a published version in a trainer's eyes: each look sees every row once, and says at the end what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from convoforge.finding import Finding, bad, good, warning
from convoforge.models import Conversation, Turn
from convoforge.publish.manifest import Manifest
from convoforge.scoring.duplicates import content_hash
from convoforge.training.rows import TrainingRow

RESERVED = frozenset(
    ("prompt", "completion", "chosen", "rejected", "label", "labels", "input_ids", "attention_mask", "completion_mask", "text")
    + ("image", "images", "videos", "audios", "tools", "chat_template_kwargs", "conversations", "instruction", "output")
)
"""Column names that TRL, axolotl, unsloth or LLaMA-Factory take for their own."""


DEFAULT_LENGTHS = {"TRL": 1024, "axolotl": 512}
"""What trainers cut at, or drop above, where they are not told otherwise (tokens)."""


class Tally:
    """How often a fault was met, and where first."""

    def __init__(self) -> None:
        self.count = 0
        self.first = ""

    def add(self, where: str) -> None:
        self.first = self.first or where
        self.count += 1

    def make_finding(self, check: str, fine: str, fault: str, todo: str, *, only_warn: bool = False) -> Finding:
        """Good where nothing was met, else the fault with how often, and the first."""
        if not self.count:
            return good(check, fine)
        return (warning if only_warn else bad)(check, f"{fault} ({self.count:,}, first {self.first})", todo)


class RoleLook:
    """An optional system turn, then user and assistant in turn, the assistant last, nobody without a word."""

    def __init__(self) -> None:
        self._faults: dict[str, Tally] = {}

    def see(self, row: TrainingRow) -> None:
        if fault := self._find_fault(row):
            self._faults.setdefault(fault, Tally()).add(f"in {row.conversation_id}")

    def list_findings(self) -> Iterator[Finding]:
        if not self._faults:
            yield good("roles", "user and assistant alternate, the assistant last, and nobody without a word")
        for fault, tally in self._faults.items():
            yield tally.make_finding("roles", "", fault, "publish again with today's release, which refuses such rows")

    def _find_fault(self, row: TrainingRow) -> str | None:
        roles = [one.get("role") for one in row.messages]
        spoken = roles[1:] if roles[:1] == ["system"] else roles
        if not spoken:
            return "a conversation without turns"
        if any(role != ("user", "assistant")[number % 2] for number, role in enumerate(spoken)):
            return "roles that do not alternate from user to assistant"
        if spoken[-1] != "assistant":
            return "a last turn that is not the assistant's"
        if not all((one.get("content") or "").strip() for one in row.messages):
            return "an empty turn"
        return "a turn with more than role and content" if any(len(one) > 2 for one in row.messages) else None


class DuplicateLook:
    """Conversations that stand twice, and what is on both sides of a split. Compared as the ledger does: without case and spaces."""

    def __init__(self) -> None:
        self._whole: dict[bytes, str] = {}
        self._openings: dict[bytes, str] = {}
        self._groups: dict[str, str] = {}
        self._twice, self._crossing, self._opening, self._group = Tally(), Tally(), Tally(), Tally()

    def see(self, row: TrainingRow) -> None:
        turns = tuple(Turn(one["role"], one["content"] or "") for one in row.messages if one["role"] != "system")  # type: ignore[arg-type]  # text, in the files
        whole, opening = (bytes.fromhex(content_hash(Conversation(some)))[:16] for some in (turns, turns[:2]))
        where = f"{row.conversation_id} in {row.split}"
        if split := self._whole.get(whole):
            (self._twice if split == row.split else self._crossing).add(where)
        elif self._openings.get(opening, row.split) != row.split:
            self._opening.add(where)
        if self._groups.setdefault(row.group, row.split) != row.split:
            self._group.add(f"'{row.group}' in {row.split}")
        self._whole.setdefault(whole, row.split)
        self._openings.setdefault(opening, row.split)

    def list_findings(self) -> Iterator[Finding]:
        yield self._twice.make_finding(
            "duplicates",
            "no conversation stands twice in a split",
            "conversations that stand twice in a split",
            "leave one of them out",
        )
        leaks = (
            (self._crossing, "conversations that are in two splits"),
            (self._group, "rows of a split_group that is in two splits"),
            (self._opening, "conversations that begin with the two turns of one in another split"),
        )
        todo = "evaluate on rows that the model has not learned: build and publish again"
        found = [tally.make_finding("leakage", "", fault, todo) for tally, fault in leaks if tally.count]
        yield from found or [good("leakage", "no conversation, split_group or first two turns are in two splits")]


def check_splits(manifest: Manifest) -> Iterator[Finding]:
    """Whether every split that was asked for holds rows, and whether a model wrote them."""
    asked = manifest.recipe.fractions
    rows = ", ".join(f"{split} {count:,}" for split, count in manifest.splits.items())
    if empty := [split for split in asked if not manifest.splits.get(split)]:
        names = " and ".join(f"'{split}'" for split in empty)
        yield bad(
            "splits",
            f"{names} is empty, where {asked[empty[0]]:.0%} were asked for ({rows})",
            "make more groups, or fewer splits",
        )
    else:
        yield good("splits", rows)
    if manifest.provider == "simulator":
        yield warning(
            "provider", "a local simulator wrote it: it teaches a model nothing", "rehearse with it; train on what a model wrote"
        )


def check_columns(schema: Any) -> Iterator[Finding]:
    """Whether a column has a name or a type that a trainer stumbles over."""
    import pyarrow.types as kinds  # type: ignore[import-untyped]

    if taken := sorted(RESERVED & set(schema.names)):
        yield bad("columns", f"trainers take for their own: {', '.join(taken)}", "rename them, or keep the column messages alone")
    odd = [field.name for field in schema if kinds.is_decimal(field.type) or kinds.is_timestamp(field.type)]
    if odd:
        yield warning(
            "columns",
            f"with_format('torch') fails on {' and '.join(odd)}; TRL, axolotl, unsloth and LLaMA-Factory drop them",
            "rows.select_columns(['messages']) where you format yourself",
        )
    if not taken and not odd:
        yield good("columns", "none has a name or a type that trainers stumble over")


def check_length(longest: int, advised: int, *, max_length: int | None, cut: Mapping[int, tuple[int, int]], rows: int) -> Finding:
    """What `max_length` cuts: `cut` has, for each length asked about, how many conversations are longer and how many tokens they lose."""

    def say(length: int) -> str:
        conversations, tokens = cut[length]
        return f"{conversations:,} of {rows:,} conversations ({conversations / rows:.1%}) and {tokens:,} tokens"

    if max_length is not None:
        if cut[max_length][0]:
            return bad(
                "length", f"at {max_length:,} tokens a trainer cuts or drops {say(max_length)}", f"set max_length to {advised:,}"
            )
        return good("length", f"the longest has {longest:,} tokens: {max_length:,} cuts nothing")
    short = [f"{name}'s default of {length:,} cuts {say(length)}" for name, length in DEFAULT_LENGTHS.items() if cut[length][0]]
    if short:
        return warning("length", f"the longest has {longest:,} tokens; {'; '.join(short)}", f"set max_length to {advised:,}")
    return good("length", f"the longest has {longest:,} tokens; max_length {advised:,} cuts nothing")
