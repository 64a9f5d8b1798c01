"""Rubrics for a judge: criteria with an anchor for each number of points, read from `configs/rubrics/`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, Strict, model_validator

from convoforge.errors import ConfigError, nearest
from convoforge.files import find_file
from convoforge.models import Label
from convoforge.planning.config_files import check, check_folder, read_yaml
from convoforge.planning.spec_values import SpecSection, matching

CriterionName = Annotated[str, matching(r"[a-z][a-z0-9_]{0,31}", "up to 32 small letters, digits and _, a letter first")]


class Criterion(SpecSection):
    """One criterion: what is asked, and what earns 1, 2, 3 … points. `min` is the least that a conversation needs; None asks for
    nothing, where the spec does not either."""

    question: Label
    anchors: Annotated[tuple[Label, ...], Strict(False), Field(min_length=2, max_length=10)]
    min: int | None = Field(default=None, ge=1)

    @property
    def maximum(self) -> int:
        """The most points."""
        return len(self.anchors)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.min is not None and self.min > self.maximum:
            raise ValueError(f"min {self.min} is more than the {self.maximum} points that there are anchors for")
        return self


class JudgeRubric(SpecSection):
    """What a judge goes by. `version` and `description` are for people."""

    version: int = Field(ge=1)
    description: str
    criteria: dict[CriterionName, Criterion] = Field(min_length=1, max_length=20)

    @property
    def sha256(self) -> str:
        """Identity of what a judge is told: criteria, questions and anchors, in their order."""
        told = [(name, one.question, one.anchors) for name, one in self.criteria.items()]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def read_rubric(name: str, config_dir: Path) -> JudgeRubric:
    """The rubric with this name in a config folder. Raises `ConfigError` if it is missing or invalid."""
    folder = config_dir / "rubrics"
    path = find_file(folder / f"{name}.yaml")
    if path is None:
        check_folder(config_dir)
        raise ConfigError(
            f"quality.judge.rubric: unknown rubric '{name}'{nearest(name, (one.stem for one in folder.glob('*.yaml')))}"
        )
    return check(JudgeRubric, read_yaml(path), f"{path}: ")
