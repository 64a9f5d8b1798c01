"""bespokelabs-curator does the work: ``python peer_curator.py prompts.json``, in an environment that knows no convoforge.

The file holds a list of `{"system": …, "user": …}`, ANTHROPIC_BASE_URL the simulator's address. The last line printed is a JSON
object: `seconds` without imports and warm-up, `cpu` seconds and `peak_mb` of the whole process, and how many conversations were `made`.
"""

from __future__ import annotations

import json
import logging
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

from bespokelabs import curator
from bespokelabs.curator.request_processor.online.anthropic_online_request_processor import AnthropicOnlineRequestProcessor
from datasets import Dataset

WARM, AT_ONCE, UNLIMITED = 40, 200, 10**9


class Writer(curator.LLM):
    """One prompt in, one conversation out."""

    def prompt(self, row: dict[str, str]) -> list[dict[str, str]]:
        """The messages of a row: one, as it hands a system text over as a message, which the API refuses."""
        return [{"role": "user", "content": f"{row['system']}\n\n{row['user']}"}]

    def parse(self, row: dict[str, str], answer: str) -> dict[str, Any]:
        """The conversation, whatever is said around its JSON; a row whose answer holds none is dropped by the library."""
        turns = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])["turns"]
        return {"turns": [{"role": turn["role"], "content": turn["content"]} for turn in turns]}


def main() -> None:
    """Write a few conversations, then all of them."""
    logging.getLogger("curator").setLevel(logging.WARNING)
    # it asks a model that is retired for the rate limits, which are all given below: spared it, or nothing would start
    AnthropicOnlineRequestProcessor.test_call = lambda _: {}
    prompts = json.loads(Path(sys.argv[1]).read_text())
    writer = Writer(
        "claude-sonnet-4-6",  # writes the same here, and does not think unless asked to: peers cannot turn it off
        backend="anthropic",
        generation_params={"max_tokens": 4096},
        backend_params={
            "base_url": f"{os.environ['ANTHROPIC_BASE_URL']}/v1",
            "api_key": "sk-simulated",
            "max_concurrent_requests": AT_ONCE,
            "max_requests_per_minute": UNLIMITED,
            "max_input_tokens_per_minute": UNLIMITED,
            "max_output_tokens_per_minute": UNLIMITED,
            "require_all_responses": False,
        },
    )
    writer(Dataset.from_list(prompts[:WARM]))
    begun = time.perf_counter()
    rows = writer(Dataset.from_list(prompts)).dataset
    seconds = time.perf_counter() - begun
    made = sum(1 for turns in rows["turns"] if len(turns) > 1)
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak_mb = used[0].ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb, "made": made}))


if __name__ == "__main__":
    main()
