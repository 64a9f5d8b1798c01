"""`convoforge token`: a new token for the HTTP API."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from convoforge.cli.console import out, print_json
from convoforge.cli.parameters import DONE, AsJson


def token(
    name: Annotated[str, Parameter(help="Who is to send it: the name in the audit log.")],
    /,
    *,
    scopes: Annotated[str, Parameter(help="What it allows: read, review, generate, admin; with commas between.")] = "read",
    as_json: AsJson = False,
) -> int:
    """Make a token, and the line for the token file. Neither is kept. Raises `ConfigError` for an invalid name or scope."""
    from convoforge.api.tokens import make_token, read_scopes

    made, line = make_token(name, read_scopes(scopes, "--scopes"))
    if as_json:
        print_json({"name": name, "token": made, "line": line})
        return DONE
    out.print(f"The token, which is shown this once:\n  {made}\n", markup=False, highlight=False, soft_wrap=True)
    out.print(
        f"Its line for the file of --token-file; the server reads it when it starts:\n  {line}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return DONE
