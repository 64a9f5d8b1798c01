"""`convoforge init` makes a project that works as it is, and never writes into what is somebody's already."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from support import Project

pytestmark = pytest.mark.server
ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def outside(tmp_path: Path) -> Project:
    """A folder outside any project, and the command line in it."""
    return Project(tmp_path, {"CONVOFORGE_DATA_DIR": "", "CONVOFORGE_CONFIG_DIR": ""})


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_project_is_made_of_the_repositorys_own_configs(outside: Project) -> None:
    done = outside.run("init", "my project")
    made = files_in(outside.folder / "my project")
    assert done.code == 0, done.err
    assert not any(path.is_symlink() for path in outside.folder.rglob("*"))
    assert {name: text for name, text in made.items() if name.startswith("configs/")} == {
        f"configs/{name}": text for name, text in files_in(ROOT / "configs").items()
    }
    assert made["prefect.yaml"] == (ROOT / "deployments" / "prefect.yaml").read_bytes()
    rest = {name for name in made if not name.startswith("configs/")}
    assert rest == {
        "convoforge.toml",
        "prefect.yaml",
        "job-template.json",
        "automations.yaml",
        ".env.example",
        ".gitignore",
        "README.md",
    }
    assert f"A project is in {outside.folder}/my project" in done.out
    assert "cd 'my project'" in done.out


def test_what_is_made_is_a_project_with_a_ledger_of_its_own(outside: Project) -> None:
    outside.run("init", "x")
    inside = Project(outside.folder / "x", outside.environment)
    shutil.copy(inside.folder / ".env.example", inside.folder / ".env")
    assert inside.run("plan", "demo", "--simulate").code == 0
    assert inside.run("costs", "--json").last["ledger"] == str(inside.folder / "data" / "ledger.db")


@pytest.mark.parametrize("folder", ["full", "full/", "."])
def test_a_folder_that_is_not_empty_is_refused(outside: Project, folder: str) -> None:
    (outside.folder / "full").mkdir()
    (outside.folder / "full" / "mine.txt").write_text("mine")
    done = outside.run("init", folder)
    assert (done.code, done.out) == (2, "")
    assert done.err == f"convoforge: {Path(folder)} is not empty: give a new or an empty folder\n"
    assert files_in(outside.folder) == {"full/mine.txt": b"mine"}


def test_an_empty_folder_is_as_good_as_none(outside: Project) -> None:
    assert outside.run("init", ".").code == 0
    assert (outside.folder / "convoforge.toml").is_file()


def test_a_file_is_refused(outside: Project) -> None:
    (outside.folder / "file").touch()
    done = outside.run("init", "file")
    assert (done.code, done.err) == (2, "convoforge: file is a file: give a new or an empty folder\n")


def test_a_folder_that_cannot_be_made_is_named(outside: Project) -> None:
    done = outside.run("init", "/dev/null/x")
    assert (done.code, done.err.count("\n")) == (1, 1)
    assert "/dev/null/x cannot be used: Not a directory" in done.err
