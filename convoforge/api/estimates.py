"""The route that estimates a build: what it would find, do and cost. Nothing is sent, scored or written."""

from __future__ import annotations

from math import prod
from typing import Any

from fastapi import APIRouter

from convoforge.api.access import requires
from convoforge.api.bounds import BoundedRoute
from convoforge.api.conversations import EVERYWHERE, describe
from convoforge.api.data_bodies import EstimateBody
from convoforge.dataset.forecast import forecast, read_known
from convoforge.errors import ConfigError
from convoforge.planning.config_files import check
from convoforge.planning.options import BuildOptions, resolve_spec
from convoforge.planning.spec import DatasetSpec, change_spec
from convoforge.settings import Settings
from convoforge.viewer.state import Opened, Viewer

MAX_PLANNED = 100_000
"""Maximum number of conversations of a spec that a request brings: planning so many takes six seconds."""

router = APIRouter(route_class=BoundedRoute, responses={**EVERYWHERE, **describe(400, 413, 500)})


@router.post("/api/estimate", dependencies=[requires("read")])
async def estimate(body: EstimateBody, viewer: Opened) -> dict[str, Any]:
    """What a build of a spec would find, do and cost, as `convoforge plan --json` has it. Nothing is sent, paid or written."""
    return await viewer.run(_estimate, body)


def _estimate(viewer: Viewer, body: EstimateBody) -> dict[str, Any]:
    options, settings = BuildOptions(simulate=body.simulate, limit=body.limit), viewer.settings
    if (body.config is None) is (body.spec is None):
        raise ConfigError("give either config, the name of a spec on this server, or spec, a whole one")
    if body.spec is not None:
        spec = _check_spec(body.spec, settings)
    elif body.config and body.config.endswith((".yaml", ".yml")):
        raise ConfigError("config: give the name of a spec on this server, without .yaml")
    else:
        spec = resolve_spec(body.config or "", options, settings)
    seen = forecast(read_known(spec, options, settings, score=False), options)
    return {**seen.as_json, "notes": [*seen.plan.notes, *seen.warnings]}


def _check_spec(given: dict[str, Any], settings: Settings) -> DatasetSpec:
    """The spec in a request. It may name no code and no file: whoever sends it may only look."""
    spec = check(DatasetSpec, given, "spec: ")
    if settings.model is not None:
        spec = change_spec(spec, model=settings.model)
    quality = spec.quality
    if code := next((name for name in (*quality.scorers, *(one.name for one in quality.filters)) if ":" in name), None):
        raise ConfigError(f"spec: quality: '{code}' is a function, which only a spec in the server's configs may name")
    if quality.evaluation:
        raise ConfigError("spec: quality.evaluation: only a spec in the server's configs may name files of this server")
    cells = prod(len(values) for values in spec.axes.model_dump().values())
    planned = min(cells, spec.sample or cells) * spec.per_cell
    if planned > MAX_PLANNED:
        raise ConfigError(f"spec: {planned:,} conversations are too many: {MAX_PLANNED:,} can be estimated here")
    return spec
