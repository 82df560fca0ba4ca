"""One process of a run whose layers wait for each other: `agreeing_toy.py FOLDER`.

The guard against NaN reads losses a step later, as it does on GPUs in float16.
"""

import os
import sys
from pathlib import Path

import torch.distributed as dist

from mmmamba.engine.reliability import nan_guard
from tests.engine.tiny_models import Toy, toy
from tests.engine.tiny_runs import train

if __name__ == "__main__":
    cfg = toy(Path(sys.argv[1]))
    cfg.train_dataloader.batch_size = 1
    cfg.default_hooks.checkpoint.interval = 2
    nan_guard._leaves_out = lambda wrapper, loss: True
    forward = Toy.forward

    def count_together(self, inputs, *given, **named):
        # As heads do that divide by the mean number of objects of all processes.
        dist.all_reduce(inputs[0].new_ones(1))
        return forward(self, inputs, *given, **named)

    Toy.forward = count_together
    assert train(cfg, "--launcher", "pytorch") == 0
    os._exit(0)
