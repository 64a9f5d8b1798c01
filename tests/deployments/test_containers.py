"""The Dockerfile and the compose file, linted and read: nothing here can run them. What they start is what the document says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "deployments"
DOCKERFILE = (FOLDER / "Dockerfile").read_text()
COMPOSE = (FOLDER / "compose.yaml").read_text()
README = (FOLDER / "README.md").read_text()


def test_the_dockerfile_is_one_that_the_linter_has_nothing_to_say_about() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("hadolint has no build for this machine")
    done = subprocess.run([linter, FOLDER / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_what_the_image_copies_is_there_and_is_not_ignored() -> None:
    rules = (FOLDER / "Dockerfile.dockerignore").read_text().split()
    let_in = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    assert rules[0] == "*"
    assert all((ROOT / name).exists() for name in let_in)
    copies = [row.split()[1:-1] for row in DOCKERFILE.splitlines() if row.startswith("COPY") and "--from" not in row]
    sources = [one for copied in copies for one in copied if not one.startswith("--")]
    assert "configs" in sources
    for source in sources:
        assert (ROOT / source).exists()
        assert source == "." or any(fnmatch(source, f"{name}*") for name in let_in)


def test_the_compose_file_keeps_to_the_specification() -> None:
    compose_spec = pytest.importorskip("compose_spec", reason="compose-spec has no build for this machine")
    read = compose_spec.PyOptions(apply_merge=True).from_yaml
    read(COMPOSE).validate()
    with pytest.raises(ValueError, match="commnad"):  # it knows what a service may say
        read(COMPOSE.replace("    command: [prefect, server", "    commnad: [prefect, server")).validate()


def test_containers_start_what_the_document_says() -> None:
    services = yaml.safe_load(COMPOSE)["services"]
    worker = DOCKERFILE.splitlines()[-1].removeprefix("CMD ")
    commands = [
        " ".join(yaml.safe_load(worker)),
        " ".join(services["prefect"]["command"]),
        *services["setup"]["command"][-1].split(" && "),
    ]
    assert len(commands) == 4
    for command in commands:
        assert f"\n{command}\n" in README


def test_every_machine_of_the_compose_file_shares_server_ledger_and_data() -> None:
    services: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE)["services"]
    for name in ("setup", "worker"):
        assert services[name]["environment"].keys() >= {"PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "CONVOFORGE_DATABASE_URL"}
        assert services[name]["volumes"] == ["data:/project/data"]
    assert services["prefect"]["ports"] == ["127.0.0.1:4200:4200"]  # nobody else reaches it without more ado
    assert services["prefect"]["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "${PREFECT_AUTH}"
    assert services["prefect"]["build"]["dockerfile"] == "deployments/Dockerfile"
