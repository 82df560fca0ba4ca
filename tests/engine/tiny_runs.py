"""Training in this process with a witness, and what can be compared of two runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from mmmamba.checkpoints.last_checkpoint import find_last
from mmmamba.commands import main
from mmmamba.engine.reliability.seeding import rng_state

# What differs between any two runs.
OWN = {
    "time",
    "experiment_name",
    "cfg",
    "train/time",
    "train/data_time",
    "val/time",
    "val/data_time",
    "eta",
    "last_ckpt",
    "best_ckpt",
    "mmengine_version",
}
NUMBERS = count()


@HOOKS.register_module()
class Witness(Hook):
    """Writes down what each iteration saw and gave, and acts in one of them or its validation."""

    seen: list[tuple] = []
    at: int | None = None
    batch: int | None = None
    act: Callable[[], Any] = staticmethod(lambda: None)
    rng: dict = {}

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        digest = hashlib.sha256(
            b"".join(image.numpy().tobytes() for image in data_batch["inputs"])
        ).hexdigest()[:12]
        paths = tuple(Path(sample.img_path).stem for sample in data_batch["data_samples"])
        Witness.seen.append((runner.iter, batch_idx, paths, digest))
        if runner.iter + 1 == Witness.at and Witness.batch is None:
            Witness.act()

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        Witness.seen.append((runner.iter, {name: value.item() for name, value in outputs.items()}))
        Witness.rng = rng_state()

    def before_val_iter(self, runner, batch_idx, data_batch=None):
        if runner.iter == Witness.at and batch_idx == Witness.batch:
            Witness.act()

    @classmethod
    def watch(
        cls, at: int | None = None, act: Callable[[], Any] | None = None, batch: int | None = None
    ) -> None:
        """Forget what was seen; call `act` in iteration `at`, counted from 1.

        With `batch` it is called in that batch of the validation after it.
        """
        cls.seen, cls.at, cls.act, cls.batch = [], at, staticmethod(act or (lambda: None)), batch


def train(cfg: Config, *options: str) -> int:
    """`mmmamba train` in this process."""
    # MMEngine takes two runs of one name within a second for the same.
    path = Path(cfg.work_dir).parent / f"config{next(NUMBERS)}_{os.environ.get('RANK', 0)}.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    cfg.dump(path)
    return main(["train", str(path), *options])


def last(cfg: Config) -> dict[str, Any]:
    """The newest checkpoint of a run."""
    return torch.load(find_last(cfg.work_dir), map_location="cpu", weights_only=False)


def differences(one: Any, two: Any, place: str = "") -> list[str]:
    """Places where two nested values are not equal bit for bit."""
    if place.rsplit(".", 1)[-1] in OWN:
        return []
    if type(one) is not type(two):
        return [f"{place}: {type(one)} and {type(two)}"]
    if isinstance(one, torch.Tensor):
        return [] if torch.equal(one, two) else [place]
    if isinstance(one, dict):
        keys = {*one, *two}
        missing = [
            f"{place}.{key}: in one only" for key in keys - OWN if (key in one) != (key in two)
        ]
        return missing + [
            d
            for k in keys
            if k in one and k in two
            for d in differences(one[k], two[k], f"{place}.{k}")
        ]
    if isinstance(one, (list, tuple)):
        if len(one) != len(two):
            return [f"{place}: {len(one)} and {len(two)} long"]
        return [
            d for i, (a, b) in enumerate(zip(one, two)) for d in differences(a, b, f"{place}.{i}")
        ]
    if hasattr(one, "__dict__"):
        return differences(vars(one), vars(two), place)
    if hasattr(one, "tobytes"):
        return [] if one.tobytes() == two.tobytes() else [place]
    return [] if one == two else [f"{place}: {one} and {two}"]


def kill(number: int) -> Callable[[], None]:
    """Send this process a signal."""
    return lambda: os.kill(os.getpid(), number)
