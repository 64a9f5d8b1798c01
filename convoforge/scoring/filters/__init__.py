"""The filters: what no training conversation may hold, a file each.

A filter is a scorer that gives a verdict: the first fault it finds, with the turn and the words, or `KEEP`. It sees one conversation,
reaches no network, and takes a fraction of a millisecond, as it is asked while a build goes on. Modules are imported when a spec asks
for their filter.
"""

from __future__ import annotations

from collections.abc import Mapping

_HERE = "convoforge.scoring.filters"

FILTERS: Mapping[str, str] = {
    name: f"{_HERE}.{name}:{name}"
    for name in (
        "empty_turns",
        "control_tokens",
        "broken_characters",
        "speaker_labels",
        "placeholders",
        "markup",
        "meta_talk",
        "echo",
        "refusals",
        "languages",
        "salad",
        "broken_ends",
        "loops",
        "proportions",
        "pii",
        "contamination",
        "insults",
    )
}
"""Where each of our filters lies, in the order in which they are asked: cheap ones first."""

DEFAULT = tuple(name for name in FILTERS if name not in ("insults", "salad", "contamination"))
"""The filters that `default` stands for in a spec: those that find 95 of 100 labelled faults (`refusals` and `pii`: 90). `contamination`
needs files of the spec."""
