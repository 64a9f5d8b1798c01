"""Reviews: what people decide on conversations, what they are asked to look at, how far they agree, and other tools' files."""

from typing import Literal

ReviewFormat = Literal["plain", "argilla", "label-studio"]
"""The format of a file of reviews."""

DEFAULT_SAMPLE = "all"
