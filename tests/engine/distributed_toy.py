"""One process of a run of several: `distributed_toy.py FOLDER NAME STOP RANK [OPTION]...`.

Process RANK gets a SIGTERM in iteration STOP.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from mmmamba.engine.interrupt import EXIT_SAVED
from tests.engine.tiny_models import toy
from tests.engine.tiny_runs import Witness, kill, train

if __name__ == "__main__":
    folder, name, stop, told, *options = sys.argv[1:]
    rank = os.environ["RANK"]
    cfg = toy(Path(folder))
    cfg.train_dataloader.batch_size = 1
    cfg.randomness = dict(seed=5)
    cfg.work_dir = str(Path(folder, name.partition("_")[0]))
    Witness.watch(int(stop), kill(signal.SIGTERM) if rank == told else None)
    code = train(cfg, *options)
    assert code == (EXIT_SAVED if int(stop) else 0), code
    torch.save((Witness.seen, Witness.rng), Path(folder, f"{name}_rank{rank}.pt"))
