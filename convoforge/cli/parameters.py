"""What the options of several commands have in common: their names, their help, and the numbers they take."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

DONE, FAILED, WRONG_INPUT, ENDED_SHORT, STOPPED = 0, 1, 2, 3, 130
"""Exit codes."""

AsJson = Annotated[bool, Parameter(name="--json", negative="", help="Print one JSON object as the last line.")]
Simulate = Annotated[bool, Parameter(negative="", help="Let a local simulator answer: no key, no cost.")]
Simulated = Annotated[bool, Parameter(negative="", help="Look at what the simulator wrote, instead of real data.")]
VersionNumber = Annotated[
    int | None,
    Parameter(name="--version", validator=Number(gte=1), help="Number of a published version. Without it: the latest."),
]
Positive = Parameter(validator=Number(gte=1))
AboveZero = Parameter(validator=Number(gt=0))
Share = Parameter(validator=Number(gt=0, lt=1))
Port = Annotated[int, Parameter(validator=Number(gte=0, lte=65_535), help="0 takes a free one.")]
