"""One process of a run of several: `distributed_toy.py FOLDER NAME STOP RANK [OPTION]...`.

Process RANK gets a SIGTERM in iteration STOP ("3"), or in a batch of the validation behind it
("5:2").
"""

import os
import signal
import sys
from pathlib import Path

import torch

from mmmamba.engine.reliability.interrupt import EXIT_SAVED
from tests.engine.tiny_models import toy, validated
from tests.engine.tiny_runs import Witness, kill, train

if __name__ == "__main__":
    folder, name, stop, told, *options = sys.argv[1:]
    rank = os.environ["RANK"]
    cfg = validated(toy(Path(folder)))
    if "runner_type=FSDPRunner" in options:
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook.type != "EMAHook"]
    cfg.train_dataloader.batch_size = 1
    # Five for one process, four for the other.
    cfg.val_dataloader.update(
        batch_size=1, sampler=dict(type="DefaultSampler", shuffle=False, round_up=False)
    )
    cfg.val_dataloader.dataset.indices = 9
    cfg.randomness = dict(seed=5)
    cfg.work_dir = str(Path(folder, name.partition("_")[0]))
    at, _, batch = stop.partition(":")
    Witness.watch(
        int(at), kill(signal.SIGTERM) if rank == told else None, int(batch) if batch else None
    )
    code = train(cfg, *options)
    assert code == (EXIT_SAVED if int(at) else 0), code
    torch.save((Witness.seen, Witness.rng), Path(folder, f"{name}_rank{rank}.pt"))
