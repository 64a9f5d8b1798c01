"""`convoforge export`: a published version as files of another format."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter

from convoforge.cli.console import facts, out, print_json, show_progress
from convoforge.cli.parameters import DONE, AsJson, Simulated, VersionNumber
from convoforge.settings import Settings
from convoforge.training.formats import FORMATS, ExportTarget


def export(
    dataset: Annotated[str, Parameter(help="The name of a dataset.")],
    /,
    *,
    to: Annotated[ExportTarget, Parameter(help="The format.")],
    number: VersionNumber = None,
    folder: Annotated[Path | None, Parameter(name="--out", help="Folder to make. Without it: one in the data folder.")] = None,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace an earlier export that is there.")] = False,
    simulated: Simulated = False,
    as_json: AsJson = False,
) -> int:
    """Write a JSONL file for each split, and what loads them in the trainer that is meant; print where, and how to use it."""
    from convoforge.publish.reading import find_published
    from convoforge.training.export import Export, choose_folder

    published = find_published(Settings().data_dir, dataset, simulated=simulated, number=number)
    path = choose_folder(published, to, folder)
    export = Export(published, to, path, overwrite=overwrite)
    manifest = published.manifest
    show_progress(export.run(), manifest.rows, "conversations", quiet=as_json)
    files = sorted(one.name for one in path.iterdir())
    use = f"cd {quote(str(path))} && {FORMATS[to].use}"
    if as_json:
        about = {"dataset": dataset, "provider": manifest.provider, "version": manifest.version, "target": to}
        print_json({**about, "path": str(path), "splits": export.rows, "files": files, "use": use})
        return DONE
    simulated_note = " (simulated: not to train on)" if manifest.provider == "simulator" else ""
    out.print(
        facts(
            [
                ("dataset", f"{dataset}{simulated_note}, version {manifest.version}, as {to}"),
                ("rows", ", ".join(f"{split} {rows:,}" for split, rows in export.rows.items())),
                ("path", str(path)),
                ("files", ", ".join(files)),
                ("use", use),
            ]
        )
    )
    return DONE
