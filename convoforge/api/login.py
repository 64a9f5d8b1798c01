"""The login of browsers: a form takes a token, and a signed cookie stands for it until the browser or the server closes."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from itsdangerous import BadSignature, TimestampSigner

from convoforge.api.tokens import Token, find_token
from convoforge.viewer.pages import page
from convoforge.viewer.state import read_form

LOGIN = "/login"

LOGIN_SECONDS = 12 * 3600
"""Maximum seconds for which a login is valid."""

router = APIRouter(include_in_schema=False)


class Logins:
    """The logins of one server. A cookie holds the name of its token, signed with a secret of this process: whoever reads the
    token file or the cookie learns no token, and a restart ends all logins."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._signer = TimestampSigner(secrets.token_bytes(32))

    def find(self, request: Request) -> Token | None:
        """The token of the browser's login, or None."""
        cookie = request.cookies.get(_cookie(request))
        try:
            name = self._signer.unsign(cookie, max_age=LOGIN_SECONDS).decode() if cookie else None
        except BadSignature:
            return None
        return next((token for token in self._tokens if token.name == name), None)

    def open(self, request: Request, given: str, response: Response) -> Token | None:
        """Log the browser in by setting the cookie, if `given` is a token; returns it, or None."""
        token = find_token(self._tokens, given.strip().encode())
        if token is not None:
            response.set_cookie(
                _cookie(request),
                self._signer.sign(token.name).decode(),
                httponly=True,
                samesite="strict",
                secure=_is_secure(request),
            )
        return token

    def __bool__(self) -> bool:
        return bool(self._tokens)


@router.get(LOGIN)
async def show_login(request: Request, next: str = "/") -> Response:
    """The form; a server without tokens needs no login."""
    return _form(request, next) if request.app.state.logins else RedirectResponse(_local(next), 303)


@router.post(LOGIN)
async def log_in(request: Request) -> Response:
    """Check the token; send the browser on to the page that it wanted, or show the form again."""
    form = await read_form(request)
    wanted = form.get("next", "/")
    response = RedirectResponse(_local(wanted), 303)
    token = request.app.state.logins.open(request, form.get("token", ""), response)
    if token is None:
        return _form(request, wanted, "This is none of the server's tokens.", 401)
    request.state.who = token.name
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """Delete the cookie."""
    response = RedirectResponse(LOGIN, 303)
    response.delete_cookie(_cookie(request), httponly=True, samesite="strict", secure=_is_secure(request))
    return response


def _form(request: Request, wanted: str, message: str = "", status: int = 200) -> HTMLResponse:
    return page(request, "login.html.jinja", section="", status=status, next=_local(wanted), message=message)


def _local(path: str) -> str:
    """`path` if it leads to a page of this server, else the first page."""
    return path if path.isprintable() and path.startswith("/") and path[1:2] not in ("/", "\\") else "/"


def _cookie(request: Request) -> str:
    """The cookie's name: browsers share the cookies of a host among its ports."""
    return f"convoforge-{(request.scope.get('server') or ('', 0))[1]}"


def _is_secure(request: Request) -> bool:
    """Whether the browser uses HTTPS, which a proxy in front of this server may end."""
    return "https" in (request.url.scheme, request.headers.get("origin", "").partition(":")[0])
