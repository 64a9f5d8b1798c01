"""`convoforge init`: a new project, copied from the starter that the package carries."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from shlex import quote
from typing import Annotated

from cyclopts import Parameter
from rich.markup import escape

from convoforge.cli.console import out
from convoforge.cli.parameters import DONE
from convoforge.errors import ConfigError


def init(folder: Annotated[Path, Parameter(help="A folder that is new or empty.")], /) -> int:
    """Make a project in a new or an empty folder, and print what to do next. Raises `ConfigError` for any other folder."""
    if folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder} is not empty: give a new or an empty folder")
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file: give a new or an empty folder")
    copy_starter(files("convoforge") / "starter", folder)
    out.print(f"A project is in {escape(str(folder.resolve()))}. Next:\n")
    out.print(f"    cd {quote(str(folder))}\n    convoforge build demo --simulate    # no key, no cost", markup=False)
    return DONE


def copy_starter(source: Traversable, folder: Path) -> None:
    """Copy the starter project into a folder, which is made if it is not there."""
    folder.mkdir(parents=True, exist_ok=True)
    for each in source.iterdir():
        if each.is_dir():
            copy_starter(each, folder / each.name)
        else:
            (folder / each.name).write_bytes(each.read_bytes())
