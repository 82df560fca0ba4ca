"""Words of other programs, and of others of our commands, and what to type in their place."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from ..errors import UsageError

COMMANDS = {
    "val": "test",
    "eval": "test",
    "validate": "test",
    "evaluate": "test",
    "predict": "infer",
    "detect": "infer",
    "segment": "infer",
    "inference": "infer",
    "benchmark": "bench",
    "deploy": "export",
    "convert": "export",
    "checks": "doctor",
    "settings": "config",
    "init": "new",
    "create": "new",
    "finetune": "train",
    "fit": "train",
}
"""What other programs call our commands."""
NOT_HERE = {
    "track": "Nothing is tracked here; mmmamba infer finds what is in each frame of a video",
}
FLAGS = {
    "--epoch": "--epochs",
    "--epochs": "--length",
    "--iters": "--length",
    "--max-epochs": "--epochs",
    "--num-epochs": "--epochs",
    "--iterations": "--iters",
    "--max-iters": "--iters",
    "--max-steps": "--iters",
    "--steps": "--iters",
    "--batch-size": "--batch",
    "--batch": "--batch-size",
    "--bs": "--batch",
    "--samples-per-gpu": "--batch",
    "--img-size": "--imgsz",
    "--img": "--imgsz",
    "--image-size": "--imgsz",
    "--img-scale": "--imgsz",
    "--resolution": "--imgsz",
    "--size": "--imgsz",
    "--imgsz": "--size",
    "--lr0": "--lr",
    "--learning-rate": "--lr",
    "--num-workers": "--workers",
    "--workers-per-gpu": "--workers",
    "--gpu": "--device",
    "--gpu-id": "--device",
    "--gpu-ids": "--device",
    "--gpus": "--device",
    "--project": "--work-dir",
    "--output-dir": "--work-dir",
    "--output": "--out",
    "--save-dir": "--out",
    "--options": "--cfg-options",
    "--opts": "--cfg-options",
    "--resume-from": "--resume",
    "--fp16": "--amp",
    "--half": "--precision float16",
    "--conf": "--score-thr",
    "--conf-thres": "--score-thr",
    "--early-stopping": "--patience",
    "--seed": "--cfg-options randomness.seed=0",
    "--optimizer": "--cfg-options optim_wrapper.optimizer.type=AdamW",
    "--weight-decay": "--cfg-options optim_wrapper.optimizer.weight_decay=0.05",
    "--accumulate": "--cfg-options optim_wrapper.accumulative_counts=4",
    "--freeze": "--cfg-options model.backbone.frozen_stages=1",
    "--load-from": "--cfg-options load_from=FILE",
    "--pretrained": "--cfg-options load_from=FILE",
}
"""What is called otherwise here, or is a setting of a config."""
FIRST = {
    "--config": "The config is the first word",
    "--cfg": "The config is the first word",
    "--model": "The model, or its config, is the first word",
    "--source": "Images come behind the model, without a flag",
    "--weights": "A checkpoint comes behind the config, or by --checkpoint",
    "--data": "The config names the data: mmmamba new --data DIR writes one",
}
"""What needs no flag here."""
TRANSLATED = ("epochs", "batch", "imgsz", "device", "workers", "name", "patience")
"""Settings of ultralytics' that are flags of the same name here."""
DATA = "mmmamba new --backbone vmamba_t --head rtmdet --data DIR"


def of_command(word: str, known: Collection[str]) -> str:
    """A sentence on a command that other programs have; empty where none is known."""
    if word in NOT_HERE:
        return f" {NOT_HERE[word]}."
    return f" That is {COMMANDS[word]!r} here." if COMMANDS.get(word) in known else ""


def of_flag(flag: str, known: Collection[str]) -> str:
    """A sentence on an option that other programs have; empty where none is known."""
    # `--img_size` is `--img-size` to whoever types it.
    name = flag.replace("_", "-")
    ours = FLAGS.get(name, "")
    if ours.split(" ")[0] in known:
        return f" That is {ours!r} here."
    return f" {FIRST[name]}." if name in FIRST else ""


def refuse_assignments(command: str, words: Sequence[str]) -> None:
    """Tell arguments in the style of ultralytics, `epochs=3`, in ours.

    Args:
        words: behind the command.

    Raises:
        UsageError: there are some before the first option, and no files of these names.
    """
    found = {}
    for word in words:
        if word.startswith("-"):
            break
        match = re.fullmatch(r"([a-z_0-9]+)=(.*)", word)
        if match and not Path(word).exists():
            found[match[1]] = match[2]
    if not found:
        return
    flags = [f"--{name} {value}" for name, value in found.items() if name in TRANSLATED]
    line = " ".join(["mmmamba", command, "CONFIG", *flags])
    data = f" A config for your data: {DATA}" if "data" in found else ""
    typed = " ".join(f"{name}={value}" for name, value in found.items())
    raise UsageError(f"{typed}: arguments are flags here, behind a config: {line}.{data}")
