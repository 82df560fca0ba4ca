"""300 iterations at changing sizes on the CPU: the process does not grow.

It is the script that GPUs are measured with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mmdet.datasets import CocoDataset

from mmmamba.datasets.shapes import ShapesSpec, make_shapes

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_memory_stays_flat(tmp_path: Path) -> None:
    data = make_shapes(tmp_path / "shapes", ShapesSpec(num_train=40, num_val=1, size=96))
    file = data / "annotations" / "instances_train.json"
    coco = json.loads(file.read_text())
    # The config's classes are COCO's, all of which a file must list.
    ids = [category["id"] for category in coco["categories"]]
    ids += range(100, 180 - len(ids))
    coco["categories"] = [
        dict(id=i, name=name) for i, name in zip(ids, CocoDataset.METAINFO["classes"], strict=True)
    ]
    file.write_text(json.dumps(coco))
    command = [
        sys.executable,
        str(ROOT / "benchmarks/endurance_gpu.py"),
        "--data",
        str(data),
        "--iterations",
        "300",
        "--sides",
        "64",
        "80",
        "96",
        "112",
        "--workers",
        "0",
        "--speed",
        "50",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
