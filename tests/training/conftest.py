"""Published versions to train on, and the tokenizer of a model that knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from publish.conftest import Dataset, load  # noqa: F401 - a fixture
from training import CHATML, make_tokenizer

from convoforge.publish import Layout, PublishedRow
from convoforge.publish.reading import PublishedVersion, find_published


@pytest.fixture
def published(tmp_path: Path) -> Callable[..., PublishedVersion]:
    """Publishes rows as the dataset `advice`, and finds them again."""

    def publish(rows: list[PublishedRow], **changes: Any) -> PublishedVersion:
        Dataset(Layout(tmp_path / "data", "datasets", "advice")).publish(rows, **changes)
        return find_published(tmp_path / "data", "advice", simulated=False)

    return publish


@pytest.fixture(scope="session")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as transformers saves it: bytes are tokens, with the control tokens and the template of ChatML."""
    pytest.importorskip("tokenizers", reason="needs the extra `check`")
    folder = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"eos_token": {"content": "<|im_end|>"}, "bos_token": null}')
    (folder / "chat_template.jinja").write_text(CHATML)
    return folder
