"""Where else a training's numbers go: TensorBoard, MLflow, Weights & Biases; each is asked for by its name."""

import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, Missing, nearest
from featune.engine.store import digest, write_text

from ..training_log import Tracker

PROJECT = "featune"  # MLflow's experiment and W&B's project, where the environment names no other


class TensorBoard:
    """Events in `<folder>/tensorboard/<name>`."""

    def __init__(self, folder: Path, name: str, recipe: Mapping[str, Any]):
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard" / name))

    def note(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)

    def close(self) -> None:
        self.writer.close()


class MLflow:
    """A run of the experiment MLFLOW_EXPERIMENT_NAME, or `featune`, at MLFLOW_TRACKING_URI, or in `<folder>/mlflow.db`.

    Its id is kept beside the checkpoint, so that a training that goes on goes on in the same run.
    """

    def __init__(self, folder: Path, name: str, recipe: Mapping[str, Any]):
        from mlflow import MlflowClient

        where = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        self.client = MlflowClient(tracking_uri=where)
        known = folder / "work" / f"{name}.mlflow"
        if known.exists():
            self.run = known.read_text(encoding="utf-8").strip()
            self.client.update_run(self.run, status="RUNNING")
            return
        title = os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self.client.get_experiment_by_name(title)
        experiment = found.experiment_id if found else self.client.create_experiment(title)
        self.run = self.client.create_run(experiment, run_name=f"{folder.name}/{name}").info.run_id
        for key, value in recipe.items():
            self.client.log_param(self.run, key, value)
        write_text(known, self.run)

    def note(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self.client.log_metric(self.run, name, value, step=step)

    def close(self) -> None:
        self.client.set_terminated(self.run)


class WandB:
    """A run of the project WANDB_PROJECT, or `featune`; WANDB_MODE=offline keeps it in `<folder>/wandb`.

    Its id follows from the folder and the recipe, so that a training that goes on goes on in the same run.
    """

    def __init__(self, folder: Path, name: str, recipe: Mapping[str, Any]):
        import wandb

        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or PROJECT, name=f"{folder.name}/{name}", dir=str(folder),
            id=digest([str(folder.resolve()), name]), resume="allow", config=dict(recipe),
        )  # fmt: skip

    def note(self, values: Mapping[str, float], step: int) -> None:
        self.run.log(dict(values), step=step)

    def close(self) -> None:
        self.run.finish()


TRACKERS: dict[str, Callable[[Path, str, Mapping[str, Any]], Tracker]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WandB,
}


def tracker_names(text: str) -> tuple[str, ...]:
    """Of a list with commas. Raises BadInput for a name that is none, Missing where its package is not installed."""
    names = tuple(dict.fromkeys(name for each in text.split(",") if (name := each.strip())))
    for name in names:
        if name not in TRACKERS:
            raise BadInput(f"--log {name!r} found{nearest(name, TRACKERS)}; one or more of {', '.join(TRACKERS)}")
        if importlib.util.find_spec(name) is None:
            raise Missing(f"{name} is not installed; pip install 'featune[{name}]', or leave it out of --log")
    return names


def opened(names: Sequence[str], folder: Path, name: str, recipe: Mapping[str, Any]) -> list[Tracker]:
    """One tracker of each name. folder: of the run; name: of the candidate; recipe: its fields, plain values."""
    return [TRACKERS[each](folder, name, recipe) for each in names]
