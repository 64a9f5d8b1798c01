"""What another process scores by another spec, while a build goes on, is nothing that the build pays for."""

from __future__ import annotations

from pathlib import Path

from recorded import LIBRARY, Dataset

from convoforge.dataset.status import plan_dataset, read_status, score_dataset
from convoforge.ledger import Ledger
from convoforge.planning.spec import DatasetSpec, change_spec


def test_what_was_scored_by_a_changed_spec_is_not_asked_for_again_and_is_scored_anew(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        axes = {"persona": ["New Parent"], "emotion": ["Hope"], "topic": ["bonds", "index funds"]}
        values = {"name": "busy", "model": "claude-sonnet-5-5", "templates": ["advice"], "axes": axes, "quality": {"filters": []}}
        made = Dataset(ledger)
        plan = made.build(DatasetSpec.model_validate(values))
        dataset = 1
        assert len(read_status(ledger, plan, dataset).accepted) == 2
        strict = plan_dataset(ledger, change_spec(plan.spec, quality={"filters": ["empty_turns"]}), LIBRARY, "anthropic")
        assert score_dataset(ledger, strict, dataset) == 2
        assert read_status(ledger, strict, dataset).to_request, "by the changed spec, others are needed"
        assert read_status(ledger, plan, dataset).to_request, "so it seems"
        status = read_status(ledger, plan, dataset, own=True)
        assert (status.unscored, status.to_request, status.rejected) == (2, (), ())
