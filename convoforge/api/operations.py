"""The routes for whoever runs the service, and for whoever wants to know what it offers."""

from __future__ import annotations

from fastapi import APIRouter

from convoforge.api.bodies import Health, ParameterBody, TemplateBody, TemplatesDone
from convoforge.api.conversations import EVERYWHERE, Opened, told
from convoforge.errors import GateClosed

router = APIRouter(responses=EVERYWHERE)


@router.get("/api/templates")
async def templates(generator: Opened) -> TemplatesDone:
    """The templates that requests can name, with what they take."""
    found = [generator.library.template(name) for name in generator.library.names()]
    return TemplatesDone(
        data=[
            TemplateBody(
                id=one.id,
                name=one.name,
                version=one.version,
                description=one.description,
                tiers=list(one.tiers),
                parameters={
                    name: ParameterBody(
                        description=parameter.description,
                        values=None if parameter.values is None else list(parameter.values),
                        default=parameter.default,
                    )
                    for name, parameter in one.parameters.items()
                },
            )
            for one in found
        ]
    )


@router.get("/healthz", responses=told(503))
async def health(generator: Opened) -> Health:
    """Whether anything can be generated; 503 where it cannot: until the server is started anew, or while the API wants no calls."""
    if generator.stopped is not None:
        raise GateClosed(generator.stopped)
    if (rest := generator.resting()) is not None:
        raise GateClosed(str(rest))
    return Health(model=generator.model)
