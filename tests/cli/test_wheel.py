"""The wheel works alone: built, installed into an environment of its own, it makes a project and builds a dataset in it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import Done

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parent.parent.parent
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "data", "tests", "benchmarks", "build", "dist")


@dataclass(frozen=True)
class Installed:
    """An environment with convoforge from a wheel, and with the suite's own packages instead of a package index."""

    folder: Path

    @property
    def packages(self) -> Path:
        (found,) = self.folder.glob("lib/python*/site-packages")
        return found

    def files(self) -> set[Path]:
        return {path for path in self.packages.rglob("*") if "__pycache__" not in path.parts}

    def run(self, *command: str, cwd: Path, **more: str) -> Done:
        """A command of this environment, with nothing set that says where a project is."""
        unset = ("CONVOFORGE_DATA_DIR", "VIRTUAL_ENV", "PYTHONHOME")
        environment = {name: value for name, value in os.environ.items() if name not in unset} | more
        path = self.folder / "bin" / command[0]
        done = subprocess.run(
            [path, *command[1:]], cwd=cwd, env=environment, capture_output=True, text=True, timeout=200, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources by what is installed here."""
    source = tmp_path_factory.mktemp("build") / "source"
    shutil.copytree(ROOT, source, symlinks=True, ignore=NOT_SOURCE)
    for dotfile in (ROOT / "convoforge" / "starter").glob(".*"):
        shutil.copy(dotfile, source / "convoforge" / "starter")
    build = "import setuptools.build_meta as backend; backend.build_wheel('dist')"
    done = subprocess.run([sys.executable, "-c", build], cwd=source, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "absent from the `packages` configuration" not in done.stderr
    (built,) = (source / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("installed") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, capture_output=True)
    install = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel]
    subprocess.run(install, check=True, capture_output=True)
    environment = Installed(folder)
    (environment.packages / "suite.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    return environment


def test_one_package_and_its_metadata_are_all_that_is_installed(installed: Installed) -> None:
    ours = {path.name for path in installed.packages.iterdir()} - {"__pycache__", "suite.pth"}
    others = {name for name in ours if name.startswith(("pip", "setuptools", "_distutils", "distutils-", "pkg_resources"))}
    version = installed.run("python", "-c", "import convoforge; print(convoforge.__version__)", cwd=installed.folder).out.strip()
    assert ours - others == {"convoforge", f"convoforge-{version}.dist-info"}
    assert (installed.packages / f"convoforge-{version}.dist-info" / "licenses" / "LICENSE").is_file()
    where = installed.run(
        "python", "-c", "import convoforge.flows, convoforge.tasks as t; print(t.__file__)", cwd=installed.folder
    )
    assert Path(where.out.strip()) == installed.packages / "convoforge" / "tasks" / "__init__.py"
    for folder in ("templates", "assets"):  # the viewer is nothing without them
        held = {path.name for path in (installed.packages / "convoforge" / "viewer" / folder).iterdir()}
        assert held == {path.name for path in (ROOT / "convoforge" / "viewer" / folder).iterdir()}


@pytest.mark.parametrize(
    "command",
    [
        ["build", "demo", "--simulate"],
        ["plan", "demo"],
        ["generate", "--simulate", "--persona", "a", "--emotion", "b", "--topic", "c"],
        ["status"],
        ["show", "demo"],
        ["costs"],
        ["publish", "demo"],
        ["serve", "--simulate", "--port", "0"],
    ],
    ids=lambda command: command[0],
)
def test_outside_a_project_one_line_says_how_to_make_one(installed: Installed, command: list[str], tmp_path: Path) -> None:
    before = installed.files()
    done = installed.run("convoforge", *command, cwd=tmp_path)
    assert (done.code, done.out) == (2, "")
    (line,) = done.err.splitlines()
    assert line.startswith("convoforge: no project here: ")
    assert "`convoforge init DIR`" in line
    assert list(tmp_path.iterdir()) == []
    assert installed.files() == before


@pytest.mark.long
def test_a_new_project_builds_a_dataset_and_all_of_it_lies_in_the_project(installed: Installed, tmp_path: Path) -> None:
    before = installed.files()
    made = installed.run("convoforge", "init", "x", cwd=tmp_path)
    assert made.code == 0, made.err
    project = tmp_path / "x"
    planned = installed.run("convoforge", "plan", "demo", cwd=project)
    assert planned.code == 0, planned.err
    built = installed.run("convoforge", "build", "demo", "--simulate", "--limit", "5", "--json", cwd=project / "configs")
    assert built.code == 0, built.err
    assert built.last["generated"] == 5
    assert Path(built.last["path"]).is_relative_to(project / "data")
    assert list(project.glob("data/versions/simulated/demo/v0001/data/*.parquet"))
    assert (project / "data" / "ledger.db").is_file()
    assert installed.files() == before
    assert {path.name for path in tmp_path.iterdir()} == {"x"}
