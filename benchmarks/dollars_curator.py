"""bespokelabs-curator writes what is paid, in its own environment: ``python dollars_curator.py prompts.json SETTINGS answers.json``.

`prompts.json` is a list of `{"number", "system", "user"}`, `answers.json` becomes one of `{"number", "turns"}`. Settings
are `defaults`, `best` and `repaired`. `best` is what its
documentation offers to save money, as far as it works: thinking turned off (`generation_params`). `repaired` adds message batches
(`batch=True`), which fail in this release before anything is sent: its litellm does not know the model, and the instructor that pip
gives it has another place for a function. Here both are put right.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import instructor
import litellm
from bespokelabs import curator
from bespokelabs.curator.request_processor.online.anthropic_online_request_processor import AnthropicOnlineRequestProcessor
from datasets import Dataset
from instructor.v2.core.response import handle_response_model

MODEL = "claude-sonnet-5-5"
UNLIMITED = 10**9


class PaidWriter(curator.LLM):
    """One prompt in, one conversation out."""

    def prompt(self, row: dict[str, Any]) -> list[dict[str, str]]:
        """The messages of a row: one, as it hands a system text over as a message, which the API refuses."""
        return [{"role": "user", "content": f"{row['system']}\n\n{row['user']}"}]

    def parse(self, row: dict[str, Any], answer: str) -> dict[str, Any]:
        """The conversation, whatever is said around its JSON; none where the answer holds none."""
        try:
            turns = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])["turns"]
            found = [{"role": turn["role"], "content": turn["content"]} for turn in turns]
        except (ValueError, KeyError, TypeError):
            found = []
        return {"number": row["number"], "turns": found}


def main() -> None:
    """Write all of them."""
    prompts, settings, answers = sys.argv[1:]
    logging.getLogger("curator").setLevel(logging.ERROR)
    # it asks a model that is retired for the rate limits: spared it, or nothing would start
    AnthropicOnlineRequestProcessor.test_call = lambda _: {}
    facts = {"max_tokens": 4096, "litellm_provider": "anthropic", "mode": "chat"}
    litellm.register_model({MODEL: {**facts, "input_cost_per_token": 2e-6, "output_cost_per_token": 1e-5}})
    instructor.handle_response_model = handle_response_model
    url = os.environ["ANTHROPIC_BASE_URL"]
    online = {
        "base_url": f"{url}/v1",
        "api_key": "sk-simulated",
        "max_requests_per_minute": UNLIMITED,
        "max_input_tokens_per_minute": UNLIMITED,
        "max_output_tokens_per_minute": UNLIMITED,
        "require_all_responses": False,
    }
    batch = {"base_url": url, "batch_check_interval": 1, "require_all_responses": False}
    batched = settings == "repaired"
    writer = PaidWriter(
        MODEL,
        backend="anthropic",
        batch=batched,
        generation_params={"max_tokens": 4096, **({} if settings == "defaults" else {"thinking": {"type": "between_tools"}})},
        backend_params=batch if batched else online,
    )
    rows = writer(Dataset.from_list(json.loads(Path(prompts).read_text()))).dataset
    Path(answers).write_text(json.dumps([dict(row) for row in rows]))


if __name__ == "__main__":
    main()
