"""The forms in Prefect's UI: fields in order, and known names to choose from.

A form is the JSON schema of a flow's parameters, which Prefect reads when the flow is deployed. So the names offered are those in
the configs of the machine that deploys: deploy again after adding a spec, a template or a persona. Any other text is accepted
too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, GetJsonSchemaHandler, WithJsonSchema
from pydantic_core import CoreSchema

from convoforge.errors import ConvoforgeError
from convoforge.models import Frozen
from convoforge.planning.model_facts import snapshot_models
from convoforge.settings import Settings

_KINDS = {"null": "Not set", "integer": "Number", "number": "Number", "string": "Text", "date": "Date"}
"""Labels of a field's tabs in the UI, instead of Python's `int` and `None`."""


def arrange_form(schema: dict[str, Any]) -> None:
    """Number the fields of a form, as a server on PostgreSQL loses their order, and give their tabs readable labels."""
    for position, field in enumerate(schema.get("properties", {}).values()):
        field["position"] = position
        for tab in field.get("anyOf", ()):
            tab.setdefault("title", _KINDS.get(tab.get("format", tab.get("type")), "Value"))


class FormSection(Frozen):
    """Options that a form shows together, in the order of the fields."""

    model_config = ConfigDict(json_schema_extra=arrange_form)


@dataclass(frozen=True, slots=True)
class Offered:
    """Marks a text field for which a form offers known values. `pattern` is a regular expression for other texts."""

    list_known: Callable[[Path], Iterable[str]]
    pattern: str | None = None

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        free = handler(core) | ({"pattern": self.pattern} if self.pattern else {})
        known: list[str] = []
        with suppress(ConvoforgeError, OSError):  # without valid configs here, no values are offered
            known = list(self.list_known(Settings().config_dir))
        if not known:
            return free
        return {"anyOf": [{"title": "Known", "type": "string", "enum": known}, {**free, "title": "Other"}]}


def list_specs(config_dir: Path) -> list[str]:
    """The names of the specs in a config folder."""
    return sorted(path.stem for path in (config_dir / "datasets").glob("*.yaml"))


def list_models(_config_dir: Path, today: date | None = None) -> list[str]:
    """The models that the package knows and that are not retired, newest first."""
    day = f"{today or datetime.now(UTC).date()}"
    living = [(name, facts) for name, facts in snapshot_models().items() if (facts["retires_at"] or "9") > day]
    return [name for name, _ in sorted(living, key=lambda one: str(one[1]["created_at"]), reverse=True)]


SpecName = Annotated[str, Offered(list_specs, r"^([A-Za-z0-9][A-Za-z0-9_-]*|.+\.ya?ml)$")]
"""A spec in configs/datasets, or the path of a YAML file."""

DatasetName = Annotated[str, Offered(list_specs)]
"""A dataset's name: that of its spec."""

ModelName = Annotated[str, Offered(list_models)]

UsDollars = WithJsonSchema({"title": "US dollars", "type": "number", "exclusiveMinimum": 0})
"""The form field of an amount."""
