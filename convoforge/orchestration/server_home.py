"""What Prefect's home holds about the local server, for its owner's eyes only: a note of where it listens, its auth string, its log.

The auth string is what keeps web pages and other users of the machine out: without it Prefect's API answers everybody, and who may
start a run may run commands. It goes from here to our clients through the environment, never over a command line.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from convoforge.errors import ConfigError, shown
from convoforge.files import make_folder
from convoforge.orchestration.processes import Process

IDLE_SECONDS = 300.0
"""Seconds that the server of a build goes on after the last one, so that the next one need not wait for it."""

URL = "PREFECT_API_URL"
AUTH = "PREFECT_API_AUTH_STRING"


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: where; its process if we started it; seconds that it goes on when nobody uses it any more, None: until it is
    stopped; and the bytes that its log had before it was started."""

    url: str
    process: Process | None = None
    idle_seconds: float | None = 0.0
    log_start: int = 0


def prefect_home() -> Path:
    """Prefect's folder: its database, and here what we note about the server."""
    return Path(os.environ.get("PREFECT_HOME") or "~/.prefect").expanduser()


def read_idle_seconds() -> float:
    """Seconds that the server of a build goes on after the last one. Raises `ConfigError` for what is no number of seconds."""
    text = os.environ.get("CONVOFORGE_SERVER_IDLE_SECONDS") or str(IDLE_SECONDS)
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        raise ConfigError(
            f"CONVOFORGE_SERVER_IDLE_SECONDS={shown(text)} is no number of seconds: write 300, or 0 to stop it at once"
        )
    return float(text)


def make_home() -> Path:
    """Prefect's folder, made for its owner alone where it is missing. Raises `ConfigError` where it cannot be used."""
    home = prefect_home()
    try:
        make_folder(home)
        open_private(home / "convoforge-server.lock", "ab").close()
    except OSError as error:
        raise ConfigError(
            f"Prefect's folder {home} cannot be used ({error.strerror}): set PREFECT_HOME to another one"
        ) from error
    return home


def open_private(path: Path, mode: str) -> IO[Any]:
    """Open a file that is, or becomes, readable by its owner alone."""
    file: IO[Any] = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - the caller closes
    os.fchmod(file.fileno(), 0o600)  # one of an earlier version may be open to others
    return file


def read_note(home: Path) -> Server | None:
    """The server that was noted last; it may be gone by now."""
    try:
        noted = json.loads((home / "convoforge-server.json").read_text())
        return Server(**{**noted, "process": Process(**noted["process"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write_note(home: Path, server: Server) -> None:
    """Note where the server is."""
    with open_private(home / "convoforge-server.json", "w") as file:
        json.dump(asdict(server), file)


def forget_note(home: Path) -> None:
    """Take the note away: the server is gone."""
    (home / "convoforge-server.json").unlink(missing_ok=True)


def log_path(home: Path) -> Path:
    """Where the server writes what it has to say."""
    return home / "convoforge-server.log"


def auth_path(home: Path) -> Path:
    """Where the auth string of this home's servers is."""
    return home / "convoforge-server.auth"


def make_auth(home: Path) -> str:
    """The auth string of this home's servers, `convoforge:` and 32 characters. It is made once, and again where others could read it."""
    path = auth_path(home)
    if path.exists() and not path.stat().st_mode & 0o077 and (made := read_auth(home)):
        return made
    path.unlink(missing_ok=True)
    made = f"convoforge:{secrets.token_urlsafe(24)}"
    with open_private(path, "x") as file:
        file.write(made + "\n")
    return made


def read_auth(home: Path) -> str | None:
    """The auth string of this home's servers, if one was made."""
    try:
        return auth_path(home).read_text().strip() or None
    except (OSError, ValueError):
        return None


def access_to(server: Server, home: Path) -> dict[str, str]:
    """What a client's environment needs for a server of this home. One that we did not start is never shown our auth string."""
    auth = read_auth(home) if server.process is not None else None
    return {URL: server.url, **({AUTH: auth} if auth else {})}


def find_access(environment: Mapping[str, str]) -> dict[str, str]:
    """What a client's environment lacks to use the server of this home, if one runs: nothing, where it names another, or an auth string."""
    if environment.get(AUTH):
        return {}
    home = prefect_home()
    server = read_note(home)
    if server is None or server.process is None or not server.process.runs:
        return {}
    named = environment.get(URL, "").rstrip("/").replace("//localhost:", "//127.0.0.1:")
    return access_to(server, home) if named in ("", server.url) else {}


def prepare_client() -> None:
    """Let this process use the server of this home, where PREFECT_API_URL names it or nothing does; before Prefect is imported.
    Prefect's plugins are not loaded then: ours would do the same, and Prefect cannot load any inside a running event loop."""
    os.environ.setdefault("PREFECT_PLUGINS_ENABLED", "false")
    os.environ.update(find_access(os.environ))
