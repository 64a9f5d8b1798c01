"""Where things lie: the project's folder, what relative paths mean, and the ledger's address.

The project is the nearest folder upwards that holds `convoforge.toml`, else the repository that this code runs from. Another current
folder must not mean an empty ledger and paying again; nor may it lie beside the installed package, to go when that does.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from convoforge.errors import ConfigError
from convoforge.files import real_path

MARK = "convoforge.toml"
REPOSITORY = Path(__file__).resolve().parent.parent

_ADVICE = (
    "go to your project's folder, make one with `convoforge init DIR`, or set CONVOFORGE_DATA_DIR and CONVOFORGE_CONFIG_DIR to "
    "absolute paths"
)


def find_project() -> Path | None:
    """The project's folder, or None where there is none."""
    try:
        here = Path.cwd()
    except OSError:  # it has been deleted
        here = REPOSITORY
    return next((folder for folder in (here, *here.parents, REPOSITORY) if (folder / MARK).is_file()), None)


def resolve_path(text: str, variable: str) -> Path:
    """A path as a person writes it: `~` is their home, relative is relative to the project. Where a folder's name is there already in
    another Unicode form (NFC or NFD), that is the one. Raises `ConfigError`, which names the variable it came from."""
    try:
        text.encode()
        path = Path(text).expanduser()
    except UnicodeEncodeError:
        raise ConfigError(f"{variable}: {text!r} is not UTF-8: rename the folder") from None
    except RuntimeError:
        raise ConfigError(f"{variable}={text}: no such user; write the path in full") from None
    if "\0" in text:
        raise ConfigError(f"{variable}: a path cannot hold a NUL character")
    if not path.is_absolute():
        project = find_project()
        if project is None:
            raise ConfigError(f"no project here: neither this folder nor one above it holds {MARK}: {_ADVICE}")
        path = project / path
    return real_path(path)


def read_file_url(text: str, variable: str) -> str:
    """The path in a `file:` URL. Raises `ConfigError` where it has none."""
    url = urlsplit(text)
    if url.netloc not in ("", "localhost") or not url.path.startswith("/"):
        raise ConfigError(f"{variable}={text} is no folder: write file:///PATH, with three slashes")
    if url.query or url.fragment or "?" in text or "#" in text:
        raise ConfigError(f"{variable}={text}: in a file:// address write %3F for '?' and %23 for '#', or give the plain path")
    path = unquote(url.path)
    return path[1:] if path.startswith("/~") else path


def sqlite_url(path: Path) -> str:
    """The address of a SQLite file, whatever characters its path has: `make_url` reads the same path from it."""
    from sqlalchemy.engine import URL  # takes 0.2 s to import

    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def read_database_url(text: str) -> str:
    """A database's address as a person writes it, with the path of a SQLite file resolved.

    Raises `ConfigError` for what is no address of a ledger, and where a path would be read as another than it looks like.
    """
    variable = "CONVOFORGE_DATABASE_URL"
    scheme, _, rest = text.partition("://")
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        return _parsed(text, variable)
    if rest in ("", "/", "/:memory:"):
        raise ConfigError(f"{variable}: a ledger in memory would forget what was paid; give a file")
    if not rest.startswith("/"):
        raise ConfigError(
            f"{variable}={text}: write sqlite:///PATH, with three slashes before the path and four before an absolute one"
        )
    if "?" in rest:
        raise ConfigError(f"{variable}={text}: a SQLite ledger takes no options; a '?' in its path is written %3F")
    plain, meant = rest[1:], unquote(rest[1:])
    path = resolve_path(meant, variable)
    if meant != plain and not path.parent.exists() and resolve_path(plain, variable).parent.exists():
        raise ConfigError(f"{variable}={text}: '%' begins an escape in an address: write %25 for each '%' of the path")
    return sqlite_url(path)


def _parsed(text: str, variable: str) -> str:
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        backend = make_url(text).get_backend_name()
    except (ArgumentError, ValueError):
        raise ConfigError(f"{variable} is not a database address; use sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    if backend not in ("sqlite", "postgresql", "postgres"):
        raise ConfigError(f"{variable}: '{backend}' is not known here; use sqlite:///… or postgresql://…")
    return text


def show_database(database_url: str) -> str:
    """Where a ledger is, for a person: the path of a SQLite file, else the address without its password."""
    from sqlalchemy.engine import make_url

    url = make_url(database_url)
    return url.database or "" if url.get_backend_name() == "sqlite" else url.render_as_string(hide_password=True)
