"""The page that starts a build: a form with the options that a deployment has, what the build would do and cost, then the button."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from convoforge.dataset.forecast import Forecast, forecast, read_known
from convoforge.errors import ConvoforgeError, SteeringError
from convoforge.orchestration.followed_runs import start_followed
from convoforge.orchestration.steering import find_builder, find_prefect
from convoforge.planning.forms import list_specs
from convoforge.planning.options import BuildOptions, resolve_known_spec
from convoforge.viewer.pages import page
from convoforge.viewer.state import Opened, Viewer, read_form

router = APIRouter(include_in_schema=False)

_CHECKED, _UNCHECKED = "true", "false"


@dataclass(frozen=True, slots=True)
class FormField:
    """A field of the form. `kind` is checkbox, number or text; `value` is what stands in it; `offered` are known values."""

    name: str
    label: str
    group: str
    hint: str
    kind: str
    value: str
    least: float | None
    most: float | None
    step: str
    offered: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StartForm:
    """The form as it is shown: `seen` is the forecast of what was asked for, `fault` why there is none; `trouble` says why no build can be
    started now. `key` makes sure that one form starts one run."""

    specs: tuple[str, ...]
    spec: str
    fields: tuple[FormField, ...]
    given: Mapping[str, str]
    seen: Forecast | None
    fault: str | None
    trouble: str | None
    key: str

    @property
    def groups(self) -> list[tuple[str, list[FormField]]]:
        """The fields that have a group, by it."""
        return [(name, [*fields]) for name, fields in groupby(self.fields, lambda one: one.group) if name]


@router.get("/start")
async def show_form(request: Request, viewer: Opened) -> HTMLResponse:
    """The form; with a spec, the forecast of a build with these options, and the button that starts it."""
    return _show(request, await viewer.run_asking(_make_form, dict(request.query_params)))


@router.post("/start")
async def start_run(request: Request, viewer: Opened) -> Response:
    """Start the build that the form has shown, and go to its page."""
    given = await read_form(request)
    try:
        found = await viewer.run_asking(
            lambda opened: start_followed(
                opened.ledger,
                opened.settings,
                given.get("spec", ""),
                _read_options(given),
                given.get("key") or secrets.token_hex(16),
            )
        )
    except ConvoforgeError as error:
        form = await viewer.run_asking(_make_form, given, str(error))
        return _show(request, form, 503 if isinstance(error, SteeringError) else 400)
    return RedirectResponse(f"/runs/{found.id}", 303)


def _show(request: Request, form: StartForm, status: int = 200) -> HTMLResponse:
    return page(request, "run_new.html.jinja", section="runs", status=status, form=form)


def _make_form(viewer: Viewer, given: Mapping[str, str], fault: str | None = None) -> StartForm:
    spec, seen = given.get("spec", ""), None
    try:
        if spec and fault is None:
            options = _read_options(given)
            resolved = resolve_known_spec(spec, options, viewer.settings)
            seen = forecast(read_known(resolved, options, viewer.settings, score=False), options)  # who looks changes nothing
    except ConvoforgeError as error:
        fault = str(error)
    fields = tuple(_list_fields(given))
    return StartForm(
        specs=tuple(list_specs(viewer.settings.config_dir)),
        spec=spec,
        fields=fields,
        given={"spec": spec, **{one.name: one.value for one in fields}},
        seen=seen,
        fault=fault,
        trouble=_find_trouble(),
        key=secrets.token_hex(16),
    )


def _find_trouble() -> str | None:
    try:
        find_builder(find_prefect())
    except SteeringError as error:
        return str(error)
    return None


def _read_options(given: Mapping[str, str]) -> BuildOptions:
    """The options that a form brings; what is empty is left out. Raises `ConfigError`."""
    return BuildOptions.of(**{one.name: one.value for one in _list_fields(given) if one.value != ""})


def _list_fields(given: Mapping[str, str]) -> Iterator[FormField]:
    """The fields of the deployment's form, from the same model, with what was given. A box that is not ticked is not sent."""
    for name, schema in BuildOptions.model_json_schema()["properties"].items():
        tabs = schema.get("anyOf", [schema])
        offered = tuple(word for tab in tabs for word in tab.get("enum", ()))
        plain = next(tab for tab in reversed(tabs) if tab.get("type") != "null")
        group, _, _ = schema["title"].rpartition(": ")
        default = schema["default"]
        if plain["type"] == "boolean":
            kind, value = "checkbox", _CHECKED if (given.get(name) == _CHECKED if given.get("spec") else default) else _UNCHECKED
        else:
            kind = "text" if plain["type"] == "string" else "number"
            value = given.get(name, "" if default is None else f"{default}").strip()
        yield FormField(
            name=name,
            label=name.replace("_", " ").removesuffix(" usd"),
            group=group,
            hint=schema["description"],
            kind=kind,
            value=value,
            least=plain.get("minimum"),
            most=plain.get("maximum"),
            step="1" if plain["type"] == "integer" else "any",
            offered=offered,
        )
