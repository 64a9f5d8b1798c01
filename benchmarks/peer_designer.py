"""data-designer does the work: ``python peer_designer.py prompts.json``, in an environment that knows no convoforge.

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

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner

WARM, AT_ONCE = 40, 200


def turns(answer: str) -> list[dict[str, str]]:
    """The conversation in an answer, whatever is said around its JSON."""
    found = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])["turns"]
    return [{"role": turn["role"], "content": turn["content"]} for turn in found]


def write(designer: DataDesigner, model: Any, prompts: list[dict[str, str]]) -> int:
    """Answer every prompt and read the answers: how many hold a conversation."""
    columns = dd.DataDesignerConfigBuilder(model_configs=[model])
    columns.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(prompts)))
    columns.add_column(
        dd.LLMTextColumnConfig(name="answer", model_alias=model.alias, system_prompt="{{ system }}", prompt="{{ user }}")
    )
    answers = designer.create(columns, num_records=len(prompts)).load_dataset()["answer"]
    return sum(1 for answer in answers if len(turns(answer)) > 1)


def main() -> None:
    """Write a few conversations, then all of them."""
    prompts = json.loads(Path(sys.argv[1]).read_text())
    simulator = dd.ModelProvider(
        name="simulator", endpoint=os.environ["ANTHROPIC_BASE_URL"], provider_type="anthropic", api_key="sk-simulated"
    )
    model = dd.ModelConfig(
        alias="writer",
        model="claude-sonnet-4-6",  # writes the same here, and does not think unless asked to: peers cannot turn it off
        provider="simulator",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(max_tokens=4096, max_parallel_requests=AT_ONCE),
    )
    designer = DataDesigner(model_providers=[simulator], auto_configure_logging=False)
    logging.getLogger("data_designer").setLevel(logging.WARNING)
    designer.set_run_config(
        dd.RunConfig(otel_metrics_port=None, disable_early_shutdown=True, jinja_rendering_engine=dd.JinjaRenderingEngine.NATIVE)
    )
    write(designer, model, prompts[:WARM])
    begun = time.perf_counter()
    made = write(designer, model, prompts)
    seconds = time.perf_counter() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peak_mb = used[0].ru_maxrss / (1024 * 1024 if sys.platform == "darwin" else 1024)
    cpu = sum(one.ru_utime + one.ru_stime for one in used)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "peak_mb": peak_mb, "made": made}))


if __name__ == "__main__":
    main()
