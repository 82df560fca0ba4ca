"""Does a teacher help where labels are few? Blood cells, tiny networks, on a CPU in minutes.

    python benchmarks/learn/distilling.py --data .data --out distilling.json

A teacher learns all crops of `bccd` (`blood_cells.py`); students of the same make learn some crops
of each class, with the teacher and without, from the same seeds. Balanced accuracy on the crops of
the validation photographs.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from common import Column, Table, parser, save

SCORE = "single-label/recall"
NETWORK = dict(embed_dims=24, depths=(1, 1, 2, 1))
SIDE = 64
BATCH = 48


def few(crops: Path, number: int, folder: Path) -> Path:
    """Some crops of each class in a folder of their own, and all of the validation."""
    for kind in sorted((crops / "train").iterdir()):
        (folder / "train" / kind.name).mkdir(parents=True)
        files = sorted(kind.iterdir())
        for file in files[:: max(1, len(files) // number)][:number]:
            shutil.copy(file, folder / "train" / kind.name)
    shutil.copytree(crops / "val", folder / "val")
    return folder


def learn(crops: Path, work_dir: Path, iterations: int, seed: int, teacher: Path | None) -> float:
    """Balanced accuracy of one run, %."""
    from blood_cells import classifier, teach
    from mmengine.runner import Runner

    cfg = classifier("vmamba_t", crops, iterations, 0)
    knows = dict(type="VMamba", arch=NETWORK, classifier=True, num_classes=3)
    cfg.model.backbone = dict(knows)
    if teacher is not None:
        teach(cfg, knows, teacher)
    cfg.train_dataloader.batch_size = BATCH
    cfg.train_dataloader.dataset.dataset.pipeline[1].scale = SIDE
    cfg.val_dataloader.dataset.pipeline[1].scale = (SIDE, SIDE)
    cfg.optim_wrapper.optimizer.lr = 1e-3
    cfg.randomness = dict(seed=seed)
    cfg.work_dir = str(work_dir)
    runner = Runner.from_cfg(cfg)
    runner.train()
    return float(runner.message_hub.log_scalars[f"val/{SCORE}"].current())


def main() -> None:
    flags = parser(__doc__)
    flags.add_argument("--data", type=Path, required=True, help="folder that holds bccd")
    flags.add_argument("--few", type=int, default=8, help="crops of each class for students")
    flags.add_argument("--iterations", type=int, default=120)
    flags.add_argument("--seeds", type=int, default=3)
    args = flags.parse_args()
    from blood_cells import cut

    table = Table(
        "students",
        f"balanced accuracy, %, of students of {args.few} crops a class",
        Column("seed", "seed"),
        Column("without a teacher", "alone", ".1f"),
        Column("with", "taught", ".1f"),
        Column("the teacher's own", "teacher", ".1f"),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        cut(args.data, folder / "crops")
        some = few(folder / "crops", args.few, folder / "few")
        known = learn(folder / "crops", folder / "teacher", args.iterations, 0, None)
        weights = folder / "teacher" / f"iter_{args.iterations}.pth"
        for seed in range(1, args.seeds + 1):
            row: dict[str, Any] = dict(seed=seed, teacher=known)
            row["alone"] = learn(some, folder / f"alone{seed}", args.iterations, seed, None)
            row["taught"] = learn(some, folder / f"taught{seed}", args.iterations, seed, weights)
            table.add(**row)
            print(row, flush=True)
            save(args.out, table, device="cpu", few=args.few, iterations=args.iterations)
    table.show()


if __name__ == "__main__":
    main()
