"""One process of a run that torchrun may start again: `elastic_toy.py FOLDER STOP RUNNER`.

Process 1 kills itself in iteration STOP of the first start, between its forward and its backward
pass.
"""

import os
import signal
import sys
from pathlib import Path

import torch

from tests.engine.tiny_models import Toy, toy
from tests.engine.tiny_runs import Witness, train

if __name__ == "__main__":
    folder, stop, runner = sys.argv[1:]
    rank, start = os.environ["RANK"], os.environ["TORCHELASTIC_RESTART_COUNT"]
    cfg = toy(Path(folder))
    cfg.runner_type = runner
    if runner == "FSDPRunner":
        # No averaged weights.
        cfg.custom_hooks = [hook for hook in cfg.custom_hooks if hook["type"] != "EMAHook"]
    cfg.train_dataloader.batch_size = 1
    cfg.default_hooks.checkpoint.interval = 2
    cfg.randomness = dict(seed=5)
    Witness.watch()
    forward = Toy.forward

    def die(self, *given, **named):
        loss = forward(self, *given, **named)
        if len(Witness.seen) == 2 * int(stop) + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return loss

    if rank == "1" and start == "0" and int(stop):
        Toy.forward = die
    assert train(cfg, "--launcher", "pytorch") == 0
    torch.save((Witness.seen, Witness.rng), Path(folder, f"start{start}_rank{rank}.pt"))
