"""What each of `torchrun`'s processes finds, for every test of two: two_processes.py FOLDER.

One start for all of them, as it takes longer than what they compute.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import torch.distributed as dist

from tests.configs import two_processes as heads
from tests.datasets.tiled import two_processes as tiles
from tests.engine.reliability import many_processes as gradients
from tests.evaluation import two_processes as targets
from tests.models.one_stage import two_processes as losses


def main(folder: Path) -> None:
    rank = int(os.environ["RANK"])
    # Read before the processes know of each other, whose samplers would give each its share.
    cases = heads.prepare(folder, rank)
    batches = gradients.prepare(folder / f"rank{rank}")
    dist.init_process_group("gloo")
    found = dict(
        heads=heads.find(cases),
        gradients=gradients.find(batches),
        losses=losses.find(rank),
        targets=targets.find(rank),
        tiles=tiles.find(folder / f"tiles{rank}"),
    )
    (folder / f"rank{rank}.json").write_text(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    # What is found is written. Gloo's threads may abort a process that takes itself apart.
    os._exit(0)
