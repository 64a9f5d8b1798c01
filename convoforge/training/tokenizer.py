"""The tokenizer of the model that will be trained: a folder, a `tokenizer.json`, or a name in Hugging Face's local cache.

Nothing is downloaded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from convoforge.errors import ConfigError

_FILE = "tokenizer.json"
_SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


@dataclass(frozen=True)
class TrainingTokenizer:
    """A tokenizer with the chat template it brings, None where it brings none, and the special tokens that a template may name."""

    name: str
    tokenizer: Any
    chat_template: str | None
    special_tokens: Mapping[str, str]

    def encode(self, texts: Sequence[str]) -> Sequence[Any]:
        """An encoding (`ids`, `char_to_token`) for each text. Nothing is added before or after: a chat template has it."""
        return self.tokenizer.encode_batch([*texts], add_special_tokens=False)  # type: ignore[no-any-return]  # it has no types

    def decode(self, encoding: Any) -> str:
        """The text of an encoding, control tokens included."""
        return str(self.tokenizer.decode(encoding.ids, skip_special_tokens=False))

    @cached_property
    def control_tokens(self) -> re.Pattern[str] | None:
        """Finds what the tokenizer takes for a control token wherever it stands, in what somebody says as well."""
        special = [
            one.content for one in self.tokenizer.get_added_tokens_decoder().values() if one.special and one.content.strip()
        ]
        return re.compile("|".join(map(re.escape, sorted(special, key=len, reverse=True)))) if special else None


def load_tokenizer(name: str) -> TrainingTokenizer:
    """The tokenizer in a folder or a file, or under its name in the cache. Raises ConfigError where it cannot be had from here."""
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise ConfigError("a tokenizer is read by the package tokenizers: pip install 'convoforge[check]'") from None
    path = _find(name, _FILE)
    if path is None:
        raise ConfigError(
            f"no {_FILE} is in {name!r}, which is no folder with one, nor a model in the local cache: nothing is downloaded. Give the "
            "folder where `AutoTokenizer.from_pretrained(NAME).save_pretrained(FOLDER)` put it"
        )
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # noqa: BLE001 - the library raises Exception itself
        raise ConfigError(f"{path} cannot be read as a tokenizer: {error}") from None
    tokenizer.no_truncation()
    tokenizer.no_padding()
    config = _read_config(_find(name, "tokenizer_config.json"))
    own = _find(name, "chat_template.jinja")
    template = own.read_text(encoding="utf-8", errors="replace") if own else _read_template(config)
    special = {key: _content(config[key]) for key in _SPECIAL if config.get(key)}
    return TrainingTokenizer(name, tokenizer, template, special)


def _find(name: str, file: str) -> Path | None:
    """A file of a tokenizer. Beside a `tokenizer.json` that is named itself are its others."""
    try:
        given = Path(name).expanduser()
        folder = given.parent if given.name == _FILE and given.is_file() else given
        if folder.is_dir():
            return folder / file if (folder / file).is_file() else None
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, file)
    except (OSError, ValueError, RuntimeError):  # no such user, a name too long, no name of a repository
        return None
    return Path(cached) if isinstance(cached, str) else None


def _read_config(path: Path | None) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except ValueError as error:
        raise ConfigError(f"{path} is no JSON: {error}") from None
    return found if isinstance(found, dict) else {}


def _read_template(config: Mapping[str, Any]) -> str | None:
    """The template in a tokenizer's configuration: a text, or a list of named ones, of which `default` is meant."""
    found = config.get("chat_template")
    if isinstance(found, list):
        found = next((one.get("template") for one in found if one.get("name") == "default"), None)
    return found if isinstance(found, str) else None


def _content(token: Any) -> str:
    return str(token["content"] if isinstance(token, dict) else token)
