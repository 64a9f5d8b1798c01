"""The context of one run in one process: everything its calls need."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from convoforge.claude import ModelClient
from convoforge.claude.retry import Policy
from convoforge.generation.run_state import RunState
from convoforge.ledger import Ledger
from convoforge.models import Provider
from convoforge.planning.model_facts import ModelFacts
from convoforge.planning.spec import DatasetSpec
from convoforge.pricing import Price
from convoforge.rate.keys import Key
from convoforge.rate.limiter import RateLimiter
from convoforge.scoring import Rubric


@dataclass(frozen=True, slots=True)
class RunContext:
    """Everything that a run's calls need. `dataset_id` and `owner` are ids in the ledger, `key_names` the fingerprints of the API
    keys in order, `base_url` the URL that requests are sent to. Only `state` changes."""

    run_id: str
    dataset_id: int
    owner: str
    provider: Provider
    spec: DatasetSpec
    rubric: Rubric
    price: Price
    policy: Policy
    ledger: Ledger
    claude: ModelClient
    limiter: RateLimiter[Key]
    state: RunState
    key_names: Sequence[str]
    base_url: str

    def __post_init__(self) -> None:
        if self.limiter not in self.state.limiters:  # a stop closes them
            self.state.limiters += (self.limiter,)

    @property
    def facts(self) -> ModelFacts:
        """The known facts about the model."""
        return self.claude.facts
