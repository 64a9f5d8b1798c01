"""Exports a published version: a folder with a JSONL file for each split, and what loads them. It appears whole, or not at all."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import orjson

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.files import make_folder, make_private
from convoforge.publish.layout import version_name
from convoforge.publish.lengths import recommend_length
from convoforge.publish.reading import PublishedVersion
from convoforge.settings import ObjectFolder
from convoforge.training.formats import FORMATS, ExportTarget

NOTE = "export.json"
"""What an exported folder says about itself. Only a folder that holds one is ever replaced."""


def choose_folder(published: PublishedVersion, target: ExportTarget, out: Path | None) -> Path:
    """Where an export goes: `out`, or a folder for version and format in the data folder. Raises ConfigError where that is no local one."""
    if out is not None and not re.match(r"\w+:/", str(out)):  # of s3://BUCKET, a path keeps one slash
        return out.expanduser().absolute()
    layout = published.layout
    if out is not None or isinstance(layout.data, ObjectFolder):
        raise ConfigError(
            f"an export is written to this machine, and {out or layout.data} is an object store: name a folder, the option `out`"
        )
    return layout.data / "exports" / layout.folder / version_name(published.manifest.version) / target


class Export:
    """A version on its way into `folder`: `run` writes it, and yields how many rows it has written.

    Raises ConfigError where the folder is there already, unless it is an export and is to be replaced (`overwrite`).
    """

    def __init__(self, published: PublishedVersion, target: ExportTarget, folder: Path, *, overwrite: bool) -> None:
        self._published = published
        self._target = target
        self._folder = folder
        self.rows: dict[str, int] = dict.fromkeys(sorted(published.manifest.splits, key=lambda split: split != "train"), 0)
        if folder.exists() or folder.is_symlink():
            if not (folder / NOTE).is_file():
                raise ConfigError(f"{folder} is there and is no export: name another folder, or move it away")
            if not overwrite:
                raise ConfigError(f"{folder} is there already: the option `overwrite` replaces it")

    def run(self) -> Iterator[int]:
        """Writes a folder beside the one that is meant, and gives it its name in the end. Raises ConvoforgeError where that fails."""
        stage = self._folder.with_name(f".{self._folder.name}-{secrets.token_hex(8)}")
        try:
            make_folder(stage)
            yield from self._write(stage)
            make_private(stage)
            self._reveal(stage)
        except OSError as error:
            raise ConvoforgeError(f"nothing was exported: {self._folder} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(stage, ignore_errors=True)

    def _write(self, stage: Path) -> Iterator[int]:
        form, manifest, longest = FORMATS[self._target], self._published.manifest, 0
        for split in self.rows:
            with (stage / f"{split}.jsonl").open("wb") as file:
                for batch in self._published.read_batches(split, ("messages", "n_tokens")):
                    longest = max(longest, *batch.column("n_tokens").to_pylist())
                    file.writelines(orjson.dumps(form.convert(one)) + b"\n" for one in batch.column("messages").to_pylist())
                    self.rows[split] += batch.num_rows
                    yield sum(self.rows.values())
        for name, text in form.snippets([*self.rows], recommend_length(longest)).items():
            (stage / name).write_text(text, encoding="utf-8")
        note = {
            **{key: getattr(manifest, key) for key in ("dataset", "version", "provider", "data_sha256")},
            "target": self._target,
            "rows": self.rows,
        }
        (stage / NOTE).write_bytes(orjson.dumps(note, option=orjson.OPT_INDENT_2) + b"\n")

    def _reveal(self, stage: Path) -> None:
        """Gives the folder its name. A kill between the two leaves what it replaces beside it, under a name that begins with a dot."""
        aside = stage.with_name(f"{stage.name}-old")
        if self._folder.exists():
            self._folder.rename(aside)
        stage.rename(self._folder)
        shutil.rmtree(aside, ignore_errors=True)
