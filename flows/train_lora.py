"""A LoRA adapter of a published version: asked for by hand, or by the event of a new version. Sends nothing to the API, pays nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.assets import Asset, materialize
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import ConfigDict

from convoforge.errors import ConfigError, ConvoforgeError
from convoforge.examples.train_lora import Trained, TrainOptions, read_manifest, train
from convoforge.orchestration.run_names import named_after
from convoforge.planning.forms import arrange_form
from convoforge.project import find_project
from convoforge.publish.layout import version_name
from convoforge.settings import Settings
from convoforge.tasks.report import one_line


class AdapterOptions(TrainOptions):
    """Options of one training."""

    model_config = ConfigDict(json_schema_extra=arrange_form)


@flow(name="train-lora", flow_run_name=named_after("dataset"), validate_parameters=True)
def train_lora(dataset: str, options: AdapterOptions = AdapterOptions()) -> State[Any]:
    """Train a LoRA adapter on a published version, with TRL and PEFT (`pip install 'convoforge[train]'` on the worker).

    Ends as Completed with the folder of the adapter, as Completed with the name Skipped where no base model is named, or as Failed with
    one line that says why.

    Args:
        dataset: Path or URL of a published version, as its card names it.
        options: How the adapter is trained.

    """
    try:
        settings = Settings()
        if not (base_model := options.base_model or settings.base_model):
            how = "set CONVOFORGE_BASE_MODEL in the worker's environment, or base_model in the options"
            return Completed(name="Skipped", message=f"no base model to train: {how}")
        manifest = read_manifest(dataset)
        name = str(manifest["dataset"])
        output = options.output or str(_adapters(settings) / name / version_name(manifest["version"]))
        family = "simulated" if manifest["provider"] == "simulator" else "datasets"
        trained = train_adapter.with_options(
            assets=[Asset(key=f"convoforge://adapters/{name}")], asset_deps=[Asset(key=f"convoforge://{family}/{name}")]
        )(dataset, options.model_copy(update={"base_model": base_model, "output": output}))
    except ImportError as error:
        return Failed(message=f"training needs TRL and PEFT on this worker: pip install 'convoforge[train]' ({one_line(error)})")
    except (ConvoforgeError, OSError, ValueError) as error:
        return Failed(message=f"no adapter was trained: {one_line(error)}")
    return Completed(message=_describe(trained))


@materialize(
    "convoforge://adapters",
    name="train-adapter",
    cache_policy=NO_CACHE,
    persist_result=False,
)
def train_adapter(dataset: str, options: TrainOptions) -> Trained:
    """Train and save the adapter. Steps and losses go into the run's log."""
    return train(dataset, options, get_run_logger().info)  # `log_prints` would catch what dill prints for itself alone


def _adapters(settings: Settings) -> Path:
    """Where adapters lie: in the data folder; where that is an object store, in the project."""
    root = settings.data_dir if isinstance(settings.data_dir, Path) else find_project()
    if root is None:
        raise ConfigError("the data folder is in an object store: name a folder of this machine as `output`")
    return root / "adapters"


def _describe(trained: Trained) -> str:
    loss = trained.metrics.get("eval_loss", trained.metrics.get("train_loss"))
    learned = f"{trained.rows:,} conversations of {trained.dataset}, version {trained.version}, are learned"
    return f"{learned}{f' (loss {loss:.3f})' if loss is not None else ''}: {trained.output}"
