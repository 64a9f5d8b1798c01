"""Tokens of the HTTP API: who may send requests, and what for.

A token is given in plain (`CONVOFORGE_API_TOKEN`, a line of the token file), or as a line `NAME SCOPES sha256:HEX`, from which
nobody can read it. Only digests are kept in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from convoforge.errors import ConfigError, nearest, shown
from convoforge.project import resolve_path
from convoforge.settings import Settings

AccessScope = Literal["read", "review", "generate", "admin"]
"""What a token allows: to look, to decide about conversations, to spend money and run builds, to read the audit log."""

SCOPES: frozenset[AccessScope] = frozenset(get_args(AccessScope))

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_TAKEN = ("local", "nobody")
"""What the audit log calls everybody on a server without tokens, and who sends none."""

_HASHED = re.compile(r"(\S+)\s+(\S+)\s+sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Token:
    """Who sends a token, what it allows, and its SHA-256."""

    name: str
    scopes: frozenset[AccessScope]
    digest: bytes


def read_tokens(settings: Settings) -> tuple[Token, ...]:
    """The tokens that callers may send; none means that everybody may do everything.

    Raises `ConfigError` for a token file that cannot be read, holds no token, or has an invalid line.
    """
    tokens = list(_plain(settings.api_token.get_secret_value(), "token")) if settings.api_token else []
    if settings.api_token_file is not None:
        path = resolve_path(str(settings.api_token_file), "CONVOFORGE_API_TOKEN_FILE")
        try:
            lines = path.read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"the token file {path} cannot be read: {getattr(error, 'strerror', error)}") from None
        found = [token for number, line in enumerate(lines, 1) for token in _read_line(line, f"{path}, line {number}", number)]
        if not found:
            raise ConfigError(f"the token file {path} is empty: write a token into it")
        tokens += found
    names = [token.name for token in tokens]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"two tokens are called {twice}: give each a name of its own")
    return tuple(tokens)


def find_token(tokens: Sequence[Token], given: bytes) -> Token | None:
    """The token that was sent, or None. Takes the same time for every wrong one."""
    digest = hashlib.sha256(given).digest()
    found = [token for token in tokens if hmac.compare_digest(digest, token.digest)]
    return found[0] if found else None


def make_token(name: str, scopes: frozenset[AccessScope]) -> tuple[str, str]:
    """Make a new token; returns it, and its line for the token file. Raises `ConfigError` for an invalid name."""
    _check_taken(name, "")
    if not _NAME.fullmatch(name):
        raise ConfigError(f"a token's name takes 1 to 64 of A-Z a-z 0-9 . _ @ -, and {shown(name)} has others")
    token = secrets.token_urlsafe(32)
    return token, f"{name} {','.join(sorted(scopes))} sha256:{hashlib.sha256(token.encode()).hexdigest()}"


def read_scopes(text: str, where: str) -> frozenset[AccessScope]:
    """Scopes as they are written, with commas between. Raises `ConfigError` for an unknown one; `where` begins its message."""
    words = [word.strip() for word in text.split(",")]
    for word in words:
        if word not in SCOPES:
            raise ConfigError(f"{where}: unknown scope {shown(word)}{nearest(word, sorted(SCOPES))}")
    return frozenset(scope for scope in SCOPES if scope in words)


def _read_line(line: str, where: str, number: int) -> Iterator[Token]:
    """The tokens of a line. What looks like a hashed token and is none must not become tokens in plain, which allow everything."""
    if line.lstrip().startswith("#"):
        return
    if not re.search("sha-?256", line, re.IGNORECASE) and not SCOPES.intersection(re.split(r"[,\s]+", line)):
        yield from _plain(line, f"line-{number}")
        return
    parts = _HASHED.fullmatch(line.strip())
    if parts is None or not _NAME.fullmatch(parts[1]):
        raise ConfigError(f"{where}: a hashed token is written NAME SCOPES sha256:HEX, as `convoforge token` prints it")
    _check_taken(parts[1], f"{where}: ")
    yield Token(parts[1], read_scopes(parts[2], where), bytes.fromhex(parts[3]))


def _check_taken(name: str, where: str) -> None:
    if name in _TAKEN:
        raise ConfigError(f"{where}the audit log calls others {shown(name)}: give the token another name")


def _plain(text: str, name: str) -> Iterator[Token]:
    """Tokens in plain, with commas or spaces between: they allow everything. The second is called `name`-2."""
    for number, token in enumerate(filter(None, re.split(r"[,\s]+", text)), 1):
        yield Token(name if number == 1 else f"{name}-{number}", SCOPES, hashlib.sha256(token.encode()).digest())
