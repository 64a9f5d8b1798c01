"""The filters: what no training conversation may hold, a file each.

A filter is a scorer that gives a verdict: the first fault it finds, with the turn and the words, or `KEEP`. It sees one conversation,
reaches no network, and takes a fraction of a millisecond, as it is asked while a build goes on. A module is imported when its filter
sees its first conversation.
"""

from __future__ import annotations

from collections.abc import Mapping

FILTERS: Mapping[str, int] = {
    "empty_turns": 1,
    "control_tokens": 1,
    "broken_characters": 1,
    "speaker_labels": 2,
    "placeholders": 2,
    "markup": 1,
    "meta_talk": 2,
    "echo": 1,
    "refusals": 2,
    "languages": 3,
    "salad": 3,
    "broken_ends": 2,
    "loops": 1,
    "proportions": 1,
    "pii": 1,
    "contamination": 1,
    "insults": 2,
}
"""The version of each of our filters, as its file has it, in the order in which they are asked: cheap ones first. It stands here too, so
that a plan or a status need not import them all, which takes a third of a second."""

DEFAULT = tuple(name for name in FILTERS if name not in ("insults", "salad", "contamination"))
"""The filters that `default` stands for in a spec. `salad` finds half of the labelled faults, `insults` half of those that its author had
not seen, and `contamination` needs files of the spec."""
