"""Where things are: folders, database, API. Read from the environment (and `.env` at the project's root) once, passed on as a value.

Folders hang on the project's root, never on the current folder: see `project`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, get_args
from urllib.parse import urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, DotEnvSettingsSource, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from convoforge.errors import ConfigError, ConvoforgeError, shown
from convoforge.project import REPOSITORY, find_project, read_database_url, read_file_url, resolve_path, show_database, sqlite_url

ROOT = REPOSITORY

Api = Literal["anthropic", "bedrock", "vertex", "foundry", "aws"]
"""Ways to Claude: Anthropic's own API, and the clouds that sell it, as the SDK has a client for each."""

APIS: tuple[Api, ...] = get_args(Api)

WITHOUT_BATCHES: frozenset[Api] = frozenset({"bedrock", "vertex", "foundry"})
WITHOUT_MODEL_FACTS: frozenset[Api] = frozenset({"bedrock", "vertex", "foundry"})
WITHOUT_TOKEN_COUNTS: frozenset[Api] = frozenset({"bedrock"})


@dataclass(frozen=True, slots=True)
class ObjectFolder:
    """A folder in an object store, by its fsspec URL: `s3://bucket/prefix`, without a slash at its end."""

    url: str

    @property
    def name(self) -> str:
        """The last part, as of a `Path`."""
        return self.url.rpartition("/")[2]

    def __truediv__(self, part: str) -> ObjectFolder:
        return ObjectFolder(f"{self.url}/{part}")

    def __str__(self) -> str:
        return self.url


Folder = Path | ObjectFolder


def read_data_folder(path: object) -> object:
    """A folder as a person writes it: a path and `file://` are local, any other URL is in an object store.

    Raises ConfigError for a URL that cannot be a folder, without showing what may be a password.
    """
    text = str(path) if isinstance(path, Path) else path
    if not isinstance(text, str) or "://" not in text or text.startswith("file:"):
        return _read_local(text, "CONVOFORGE_DATA_DIR")
    url = urlsplit(text)
    if "@" in url.netloc or url.query or url.fragment:
        raise ConfigError(
            f"CONVOFORGE_DATA_DIR: {url.scheme}://… must hold no '@', '?' or '#': credentials belong into the environment (AWS_…)"
        )
    if not url.scheme or not url.netloc:
        raise ConfigError(f"CONVOFORGE_DATA_DIR={text} names no bucket: write s3://BUCKET/PREFIX")
    return ObjectFolder("/".join([f"{url.scheme}://{url.netloc}", *filter(None, url.path.split("/"))]))


def _read_config_folder(path: object) -> object:
    text = str(path) if isinstance(path, Path) else path
    if isinstance(text, str) and "://" in text and not text.startswith("file:"):
        raise ConfigError(
            f"CONVOFORGE_CONFIG_DIR={text}: specs, templates and personas are read from a local folder: give its path"
        )
    return _read_local(text, "CONVOFORGE_CONFIG_DIR")


def _read_local(text: object, variable: str) -> object:
    if not isinstance(text, str):
        return text
    return resolve_path(read_file_url(text, variable) if text.startswith("file:") else text, variable)


def _read_api(text: object) -> object:
    name = text.strip().lower() if isinstance(text, str) else text
    if name not in APIS:
        raise ConfigError(f"CONVOFORGE_API={shown(str(text))} is unknown; known: {', '.join(APIS)}")
    return name


def _read_database(text: object) -> object:
    return read_database_url(text) if isinstance(text, str) else text


class Settings(BaseSettings):
    """The environment, as a value. The key is a secret: printing this object never shows it."""

    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", populate_by_name=True, validate_default=True, env_ignore_empty=True
    )

    api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    base_url: str | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE_URL"))
    model: str | None = Field(default=None, validation_alias="ANTHROPIC_MODEL")
    base_model: str | None = Field(default=None, validation_alias="CONVOFORGE_BASE_MODEL")
    api: Annotated[Api, BeforeValidator(_read_api)] = Field(default="anthropic", validation_alias="CONVOFORGE_API")
    data_dir: Annotated[Folder, NoDecode, BeforeValidator(read_data_folder)] = Field(
        default=Path("data"), validation_alias="CONVOFORGE_DATA_DIR"
    )
    config_dir: Annotated[Path, BeforeValidator(_read_config_folder)] = Field(
        default=Path("configs"), validation_alias="CONVOFORGE_CONFIG_DIR"
    )
    database: Annotated[str | None, BeforeValidator(_read_database)] = Field(
        default=None, validation_alias="CONVOFORGE_DATABASE_URL"
    )

    api_token: SecretStr | None = Field(default=None, validation_alias="CONVOFORGE_API_TOKEN")
    api_token_file: Path | None = Field(default=None, validation_alias="CONVOFORGE_API_TOKEN_FILE")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - pydantic passes them by name
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given, then the environment, then `.env` in the project's folder."""
        project = find_project()
        return (init_settings, env_settings, *([DotEnvSettingsSource(settings_cls, project / ".env")] if project else []))

    @property
    def database_url(self) -> str:
        """The ledger's address: given, or SQLite in the data folder. Raises ConfigError where that folder cannot hold one."""
        if self.database:
            return self.database
        if isinstance(self.data_dir, ObjectFolder):
            raise ConfigError(
                f"an object store cannot hold the ledger: with CONVOFORGE_DATA_DIR={self.data_dir}, set CONVOFORGE_DATABASE_URL "
                "as well (postgresql://USER@HOST/NAME, or sqlite:////PATH/ledger.db)"
            )
        return sqlite_url(self.data_dir / "ledger.db")

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys, in order; several are written with commas between."""
        text = self.api_key.get_secret_value() if self.api_key else ""
        return tuple(key for key in (part.strip() for part in text.split(",")) if key)

    @property
    def endpoint(self) -> str:
        """Where real requests go; a cloud's name where the SDK knows the address."""
        return self.api_root if self.api == "anthropic" else self.api

    @property
    def accounts(self) -> tuple[str, ...]:
        """What calls are sent under: the API keys; for a cloud, which has credentials of its own, its name."""
        return self.keys if self.api == "anthropic" else (self.api,)

    @property
    def counts_tokens(self) -> bool:
        """Whether there is somebody who counts a prompt's tokens."""
        return bool(self.accounts) and self.api not in WITHOUT_TOKEN_COUNTS

    @property
    def api_root(self) -> str:
        """The base URL as the SDK wants it: without the `/v1` that the seed's variable ends in."""
        url = (self.base_url or "https://api.anthropic.com").rstrip("/")
        return url.removesuffix("/v1")


def check_settings(settings: Settings, *, simulate: bool, batch: bool = False) -> None:
    """Raises what a build would end with after its start: `ConfigError` for an address that cannot be the API's or for message batches
    (`batch`) where there are none, `ConvoforgeError` for a data or ledger folder that cannot be written."""
    if not simulate:
        if settings.api == "anthropic":
            check_api_address(settings.api_root)
        if batch:
            check_batches(settings.api)
    if isinstance(settings.data_dir, Path):
        _check_writable(settings.data_dir, "data folder", "CONVOFORGE_DATA_DIR")
    if settings.database and settings.database.startswith("sqlite"):
        _check_writable(Path(show_database(settings.database)).parent, "ledger's folder", "CONVOFORGE_DATABASE_URL")


def _check_writable(folder: Path, name: str, variable: str) -> None:
    there = next(one for one in (folder, *folder.parents) if one.exists())
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "a folder that may not be written" if there.is_dir() else "no folder"
        raise ConvoforgeError(f"the {name} {folder} cannot be used: {there} is {why}. Change that, or {variable}")


def check_batches(api: Api) -> None:
    """Raises `ConfigError` for a cloud that has no message batches."""
    if api in WITHOUT_BATCHES:
        raise ConfigError(f"CONVOFORGE_API={api} has no message batches: set mode to online, and leave out the option `batch`")


def describe_api(api: Api) -> Iterator[str]:
    """What a person should know of a cloud before it is paid; nothing for Anthropic's own API."""
    if api == "anthropic":
        return
    if api in WITHOUT_MODEL_FACTS:
        yield f"CONVOFORGE_API={api} tells nothing of its models: the facts are those of the package's snapshot"
    if api in WITHOUT_TOKEN_COUNTS:
        yield f"CONVOFORGE_API={api} counts no tokens: those of the prompts are estimated by letters"
    yield f"prices are Anthropic's: the price list of CONVOFORGE_API={api} may differ; `prices:` in the spec replaces them"


def check_api_address(base_url: str) -> None:
    """Raises `ConfigError` for an address that cannot be the API's, without showing what may be a password."""
    found = "" if "@" in base_url else f" (found {shown(base_url)})"
    if odd := next((one for one in base_url if one.isspace() or one in "?#"), ""):
        what = "a space or a line break" if odd.isspace() else f"a {odd}"
        raise ConfigError(f"ANTHROPIC_BASE_URL holds {what}: give http(s)://HOST[:PORT][/PATH] and nothing after it{found}")
    try:
        url = urlsplit(base_url)
        fine = (
            url.scheme in ("http", "https") and url.hostname and url.username is None and url.port != 0 and base_url.isprintable()
        )
    except ValueError:
        fine = False
    if not fine:
        raise ConfigError(f"ANTHROPIC_BASE_URL is no address of an API: give http(s)://HOST[:PORT]{found}")
