"""What the documents say is true: commands, targets and files exist, the spec is valid, the examples run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from support import Done, Project

from convoforge.cli import COMMANDS
from convoforge.planning.spec import DatasetSpec

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_every_command_is_in_the_help_in_the_order_of_the_story(run_here: Callable[..., Done]) -> None:
    told = re.findall(r"^\| `convoforge (\w+)", README, re.MULTILINE)
    assert told == list(COMMANDS)
    assert told == re.findall(r"^│ (\w+) ", run_here("--help").out, re.MULTILINE)


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\| `convoforge (\w+)", README, re.MULTILINE))))
def test_every_option_the_readme_gives_a_command_exists(run_here: Callable[..., Done], command: str) -> None:
    uses = [line for line in README.replace("`", "\n").splitlines() if re.search(rf"convoforge {command}\b", line)]
    known = run_here(command, "--help").out
    for option in {option for line in uses for option in re.findall(r"--[a-z-]+", line)}:
        assert option in known


def test_every_make_target_exists() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^  make (\S+)", shown, re.MULTILINE))
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) | set(re.findall(r"`make (\w+)`", README)) <= targets


@pytest.mark.parametrize("document", ["README.md", "RUNBOOK.md", "data/README.md", "deployments/README.md", "CONTRIBUTING.md"])
def test_commands_are_written_as_they_can_be_typed(document: str) -> None:
    """After `make setup` nothing of .venv/bin is on the PATH: a bare `prefect` needs to be told where it is."""
    told = False
    for part in re.split(r"(```sh\n.*?```)", (ROOT / document).read_text(), flags=re.DOTALL):
        bare = part.startswith("```sh") and re.search(r"^(prefect|convoforge) ", part, re.MULTILINE)
        told = told or "pip install" in part or 'export PATH="$PWD/.venv/bin:$PATH"' in part
        assert told or not bare, part


@pytest.mark.parametrize("document", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_file_that_a_document_names_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    quoted = re.findall(r"`([\w./-]+/[\w./-]*)`", text) + re.findall(r"\]\(([^):#]+)(?:#[\w-]+)?\)", text)
    ours = {
        name for name in quoted if name.split("/")[0] in {path.name for path in ROOT.iterdir()} and not name.startswith("data/")
    }
    assert len(ours) > 3
    assert {name for name in ours if not (ROOT / name).exists()} == set()


def test_every_picture_is_there_and_shown() -> None:
    """`docs/make_screenshots.py` makes them; no picture of the commands loads anything from elsewhere."""
    folder = ROOT / "docs"
    shown = re.findall(r"!\[[^\]]+\]\((pictures/[^)]+)\)", (folder / "what-you-see.md").read_text())
    assert sorted(shown) == sorted(str(path.relative_to(folder)) for path in (folder / "pictures").iterdir())
    assert not any("url(http" in path.read_text() for path in (folder / "pictures").glob("*.svg"))


@pytest.mark.parametrize(
    "name", re.findall(r"`(\w+)` in `(convoforge/[\w/]+\.py)`", (ROOT / "ARCHITECTURE.md").read_text()), ids=str
)
def test_every_function_that_the_architecture_places_is_there(name: tuple[str, str]) -> None:
    function, file = name
    assert re.search(rf"^(async def|def|class) {function}\b", (ROOT / file).read_text(), re.MULTILINE)


def test_the_spec_shown_is_valid_and_its_defaults_are_the_defaults() -> None:
    (text,) = blocks("yaml")
    shown = DatasetSpec.model_validate(yaml.safe_load(text))
    needed = {name: getattr(shown, name) for name in ("name", "model", "templates", "axes")}
    assert shown == DatasetSpec(**needed)


def test_the_example_in_python_runs(project: Project) -> None:
    ours = [block for block in blocks("python") if "import convoforge" in block or "from convoforge" in block]
    example = "\n\n".join(block for block in ours if "@scorer" not in block)  # tests/scoring/test_own_scorers.py runs those
    environment = {"CONVOFORGE_DATA_DIR": str(project.data), "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, "-c", example], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.match(r"\d+ 0\.\d+ \w+", done.stdout)


@pytest.mark.long
def test_the_examples_in_python_pass_a_strict_type_check(tmp_path: Path) -> None:
    names = []
    for number, example in enumerate(blocks("python")):
        (tmp_path / f"example{number}.py").write_text(example)
        names.append(f"example{number}.py")
    command = [sys.executable, "-m", "mypy", "--strict", "--ignore-missing-imports", "--cache-dir", ROOT / ".mypy_cache", *names]
    environment = {**os.environ, "MYPYPATH": str(ROOT)}  # mypy does not follow an editable install
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", [["--help"], ["plan", "demo"], ["costs"], ["status"]])
def test_nothing_heavy_is_imported_to_look(project: Project, command: list[str]) -> None:
    project.run("costs")  # the ledger exists
    code = (
        "import sys; from convoforge.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'prefect', 'anthropic', 'alembic', 'pyarrow', 'polars', 'fastapi', 'aiohttp'} & set(sys.modules)\n"
        "heavy -= {'polars'} if sys.argv[1] == 'costs' else set()  # which computes percentiles with it\n"
        "assert not heavy, heavy"
    )
    import os

    environment = {**os.environ, **project.environment}
    done = subprocess.run([sys.executable, "-c", code, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_and_completion_import_nothing_heavy(project: Project) -> None:
    code = (
        "import sys; from convoforge.cli import COMMANDS, app, main\n"
        "assert '--retry-refused' in app.generate_completion(shell='bash')\n"
        "for command in COMMANDS:\n"
        "    try: main([command, '--help'])\n"
        "    except SystemExit as end: assert not end.code, end.code\n"
        "    heavy = {'prefect', 'anthropic', 'sqlalchemy', 'pyarrow', 'polars', 'fastapi', 'aiohttp'} & set(sys.modules)\n"
        "    assert not heavy, (command, heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=project.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
