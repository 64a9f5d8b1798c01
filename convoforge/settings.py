"""Where things are: folders, database, API. Read from the environment (and `.env` at the project's root) once, passed on as a value.

Folders hang on the project's root, never on the current folder: another folder must not mean an empty ledger and paying again.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The environment, as a value. The key is a secret: printing this object never shows it."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_file=ROOT / ".env", populate_by_name=True)

    api_key: SecretStr | None = Field(default=None, validation_alias="ANTHROPIC_API_KEY")
    base_url: str | None = Field(default=None, validation_alias=AliasChoices("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE_URL"))
    model: str | None = Field(default=None, validation_alias="ANTHROPIC_MODEL")
    data_dir: Path = Field(default=ROOT / "data", validation_alias="CONVOFORGE_DATA_DIR")
    config_dir: Path = Field(default=ROOT / "configs", validation_alias="CONVOFORGE_CONFIG_DIR")
    database: str | None = Field(default=None, validation_alias="CONVOFORGE_DATABASE_URL")

    @property
    def database_url(self) -> str:
        """The ledger's address: given, or SQLite in the data folder."""
        return self.database or f"sqlite:///{self.data_dir / 'ledger.db'}"

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
