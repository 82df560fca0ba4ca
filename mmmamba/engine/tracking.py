"""Sends what a run logs to TensorBoard and the like, too, through MMEngine's backends."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from mmengine.config import Config

from ..errors import UsageError
from ..suggest import did_you_mean

# Name, MMEngine's class, the package that it imports and that is to be installed.
TRACKERS = {
    "tensorboard": ("TensorboardVisBackend", "tensorboard"),
    "wandb": ("WandbVisBackend", "wandb"),
    "mlflow": ("MLflowVisBackend", "mlflow"),
    "clearml": ("ClearMLVisBackend", "clearml"),
    "neptune": ("NeptuneVisBackend", "neptune"),
    "dvclive": ("DVCLiveVisBackend", "dvclive"),
    "aim": ("AimVisBackend", "aim"),
}


def add_trackers(cfg: Config, names: Sequence[str]) -> None:
    """Add backends to a config's visualizer; one that the config names already keeps its settings.

    Raises:
        UsageError: no such backend, or its package is not installed.
    """
    for name in names:
        if name not in TRACKERS:
            raise UsageError(
                f"--log-to {name}: known are {', '.join(TRACKERS)}.{did_you_mean(name, TRACKERS)}"
            )
        kind, package = TRACKERS[name]
        if find_spec(package) is None:
            raise UsageError(f"--log-to {name} needs the package {package}: pip install {package}")
        if cfg.get("visualizer") is None:
            cfg.visualizer = dict(type="Visualizer")
        # Beside the local one, which writes the scalars.json that our curves are drawn from.
        backends = cfg.visualizer.get("vis_backends") or [dict(type="LocalVisBackend")]
        if all(backend["type"] != kind for backend in backends):
            backends = [*backends, dict(type=kind)]
        cfg.visualizer.vis_backends = backends
