"""A really published dataset, and base models that know nothing."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import Project
from training import make_model
from watching import free_port, prefect_home

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(scope="session")
def published(_own_environment: None, simulator_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The newest version of the demo dataset, as `convoforge build demo --simulate --limit 20` leaves it."""
    folder = tmp_path_factory.mktemp("published")
    shutil.copytree(ROOT / "configs", folder / "configs")
    environment = {
        "CONVOFORGE_CONFIG_DIR": str(folder / "configs"),
        "CONVOFORGE_DATA_DIR": str(folder / "data"),
        "PREFECT_HOME": str(prefect_home(folder / "prefect")),
        "PREFECT_SERVER_API_PORT": str(free_port()),
        "ANTHROPIC_BASE_URL": simulator_url,
    }
    done = Project(folder, environment).run("build", "demo", "--simulate", "--limit", "20", "--json", timeout=400)
    assert done.last["published"], done.err
    yield folder / "data" / "simulated" / "demo" / "latest"


@pytest.fixture(scope="session")
def base_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without a chat template."""
    pytest.importorskip("transformers", reason="needs the extra `train`, which `make test-long` installs")
    return make_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the chat template of Qwen 3, as TRL has it."""
    trl = pytest.importorskip("trl", reason="needs the extra `train`, which `make test-long` installs")
    template = Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja"
    return make_model(tmp_path_factory.mktemp("chat"), template.read_text())
