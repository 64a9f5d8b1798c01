"""data-designer writes what is paid: ``python dollars_designer.py prompts.json defaults|best answers.json``, in an environment of its own.

`prompts.json` is a list of `{"number", "system", "user"}`, `answers.json` becomes one of `{"number", "turns"}`. `best` is what its
documentation offers to save money: thinking turned off (`extra_body`). It knows neither message batches nor the API's cache.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner


def read_turns(answer: str) -> list[dict[str, str]]:
    """The conversation in an answer, whatever is said around its JSON; none where it holds none."""
    try:
        found = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])["turns"]
        return [{"role": turn["role"], "content": turn["content"]} for turn in found]
    except (ValueError, KeyError, TypeError):
        return []


def main() -> None:
    """Write all of them."""
    prompts, settings, answers = sys.argv[1:]
    asked = json.loads(Path(prompts).read_text())
    simulator = dd.ModelProvider(
        name="simulator", endpoint=os.environ["ANTHROPIC_BASE_URL"], provider_type="anthropic", api_key="sk-simulated"
    )
    thinking = {"extra_body": {"thinking": {"type": "between_tools"}}} if settings == "best" else {}
    model = dd.ModelConfig(
        alias="writer",
        model="claude-sonnet-5-5",
        provider="simulator",
        skip_health_check=True,
        inference_parameters=dd.ChatCompletionInferenceParams(max_tokens=4096, **thinking),
    )
    designer = DataDesigner(model_providers=[simulator], auto_configure_logging=False)
    logging.getLogger("data_designer").setLevel(logging.WARNING)
    designer.set_run_config(
        dd.RunConfig(otel_metrics_port=None, disable_early_shutdown=True, jinja_rendering_engine=dd.JinjaRenderingEngine.NATIVE)
    )
    columns = dd.DataDesignerConfigBuilder(model_configs=[model])
    columns.with_seed_dataset(dd.DataFrameSeedSource(df=pd.DataFrame(asked)))
    columns.add_column(
        dd.LLMTextColumnConfig(name="answer", model_alias=model.alias, system_prompt="{{ system }}", prompt="{{ user }}")
    )
    rows = designer.create(columns, num_records=len(asked)).load_dataset()
    made = [{"number": int(row["number"]), "turns": read_turns(row["answer"])} for row in rows.to_dict("records")]
    Path(answers).write_text(json.dumps(made))


if __name__ == "__main__":
    main()
