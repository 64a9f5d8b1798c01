"""Where things are: folders, database, API. Read from the environment (and `.env` at the project's root) once, passed on as a value.

Folders hang on the project's root, never on the current folder: another folder must not mean an empty ledger and paying again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from convoforge.errors import ConfigError

ROOT = Path(__file__).resolve().parent.parent


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


def read_folder(place: object) -> object:
    """A folder as a person writes it: a path and `file://` are local, any other URL is in an object store.

    Raises ConfigError for a URL that cannot be a folder, without showing what may be a password.
    """
    if not isinstance(place, str) or "://" not in place:
        return place
    url = urlsplit(place)
    if "@" in url.netloc or url.query or url.fragment:
        raise ConfigError(
            f"CONVOFORGE_DATA_DIR: {url.scheme}://… must hold no '@', '?' or '#': credentials belong into the environment (AWS_…)"
        )
    if url.scheme == "file":
        if url.netloc not in ("", "localhost") or not url.path:
            raise ConfigError(f"CONVOFORGE_DATA_DIR={place} is no folder: write file:///PATH, with three slashes")
        return Path(unquote(url.path))
    if not url.scheme or not url.netloc:
        raise ConfigError(f"CONVOFORGE_DATA_DIR={place} names no bucket: write s3://BUCKET/PREFIX")
    return ObjectFolder("/".join([f"{url.scheme}://{url.netloc}", *filter(None, url.path.split("/"))]))


class Settings(BaseSettings):
    """The environment, as a value. The key is a secret: printing this object never shows it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file=ROOT / ".env", populate_by_name=True)

    api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    base_url: str | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE_URL"))
    model: str | None = Field(default=None, validation_alias="ANTHROPIC_MODEL")
    data_dir: Annotated[Folder, NoDecode, BeforeValidator(read_folder)] = Field(
        default=ROOT / "data", validation_alias="CONVOFORGE_DATA_DIR"
    )
    config_dir: Path = Field(default=ROOT / "configs", validation_alias="CONVOFORGE_CONFIG_DIR")
    database: str | None = Field(default=None, validation_alias="CONVOFORGE_DATABASE_URL")

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
        return f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def keys(self) -> tuple[str, ...]:
        """The API keys, in order; several are written with commas between."""
        text = self.api_key.get_secret_value() if self.api_key else ""
        return tuple(key for key in (part.strip() for part in text.split(",")) if key)

    @property
    def api_root(self) -> str:
        """The base URL as the SDK wants it: without the `/v1` that the seed's variable ends in."""
        url = (self.base_url or "https://api.anthropic.com").rstrip("/")
        return url.removesuffix("/v1")
