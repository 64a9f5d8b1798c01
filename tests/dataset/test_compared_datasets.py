"""Which other datasets a spec may name: those whose conversations are not to be repeated."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from convoforge.dataset.near_duplicates import check_compared
from convoforge.errors import ConfigError
from convoforge.ledger import Ledger
from convoforge.ledger.runs import ensure_dataset
from convoforge.planning.spec import change_spec, load_spec
from convoforge.settings import ROOT

NOW = datetime(2026, 11, 27, tzinfo=UTC)


def test_a_misspelt_one_is_said_and_one_that_is_yet_to_be_built_or_is_only_simulated_is_known(tmp_path: Path) -> None:
    demo = load_spec("demo", ROOT / "configs")

    def check(*names: str) -> None:
        check_compared(ledger, change_spec(demo, quality={"near_duplicates": {"datasets": list(names)}}), ROOT / "configs")

    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        for name in ("demo", "insurance"):
            ledger.write(ensure_dataset, name, "simulator", NOW)
        check("insurance", "financial-advice")
        said = "quality.near_duplicates.datasets: unknown dataset 'insurence'; did you mean 'insurance'? Known: insurance."
        with pytest.raises(ConfigError, match=re.escape(said)):
            check("insurance", "insurence")
