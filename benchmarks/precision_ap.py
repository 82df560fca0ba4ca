"""AP or mIoU of one trained model in each precision that the device computes in.

    make demo && python benchmarks/precision_ap.py --run work_dirs/demo --images 1000
    python benchmarks/precision_ap.py --run work_dirs/mask_rcnn_vmamba_t

The run's own test, by `mmmamba test`, once in exact float32 and once in each of the others. Exit
code 1 where a metric is more than `--within` points away from that of float32. `--images` tests a
run of the demo on so many shapes that are drawn anew, as a few dozens say little of a tenth of a
point. MMDetection rounds AP to a tenth of a point.
"""

import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import torch
from common import DEVICE, Column, Table, parser, save, verdict
from mmengine.fileio import load

import mmmamba  # noqa: F401  before mmdet, which imports mmcv's operators
from mmmamba.datasets.shapes import ShapesSpec, make_shapes
from mmmamba.engine.demo import DEFAULT_SPEC
from mmmamba.engine.precision import choose_precision
from mmmamba.engine.runs import open_run, test
from mmmamba.inference.opening import find_files


class Setting(NamedTuple):
    """What a test is done in."""

    precision: str
    tf32: bool | None

    @property
    def name(self) -> str:
        return self.precision + (" as TF32" if self.tf32 else "")


CPU = (Setting("float32", None), Setting("bfloat16", None))
GPU = (
    Setting("float32", False),
    Setting("float32", True),
    Setting("float16", True),
    Setting("bfloat16", True),
)
POINTS = {"bbox_mAP": 100, "segm_mAP": 100, "mIoU": 1}
"""What is compared, as metrics end, and how many points one of each is."""


def metrics_of(run: Path, setting: Setting, shapes: Path | None) -> dict[str, float]:
    """Metrics of a run's last checkpoint, in points, and the seconds of the test."""
    config, checkpoint = find_files(run)
    with TemporaryDirectory() as folder:
        cfg = open_run(config, work_dir=folder)
        cfg.visualizer.vis_backends = []
        if shapes is not None:
            _test_on(cfg, shapes)
        began = time.perf_counter()
        test(cfg, str(checkpoint), precision=setting.precision, tf32=setting.tf32)
        seconds = time.perf_counter() - began
        # MMEngine's, beside the log.
        (record,) = Path(folder).glob("*/*.json")
        metrics = load(record)
    found = {"seconds": seconds}
    for name, value in metrics.items():
        key = name.split("/")[-1]
        if key in POINTS:
            found[key] = value * POINTS[key]
    return found


def _test_on(cfg: Any, shapes: Path) -> None:
    """Have a demo's detector tested on the validation images of another folder of shapes."""
    cfg.test_dataloader.dataset.data_root = str(shapes)
    cfg.test_evaluator.ann_file = str(shapes / "annotations" / "instances_val.json")


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--run", type=Path, default=Path("work_dirs/demo"), help="a work dir")
    options.add_argument("--images", type=int, help="shapes to draw, for the detector of a demo")
    options.add_argument("--within", type=float, default=0.1, help="points (0.1)")
    args = options.parse_args()
    auto = choose_precision("auto", torch.device(DEVICE)).name
    with TemporaryDirectory() as folder:
        shapes = None
        if args.images:
            spec = ShapesSpec(1, args.images, DEFAULT_SPEC.size, seed=1)
            shapes = make_shapes(Path(folder) / "shapes", spec)
        settings = GPU if DEVICE == "cuda" else CPU
        found = {setting: metrics_of(args.run, setting, shapes) for setting in settings}
    exact = found[settings[0]]
    names = [name for name in POINTS if name in exact]
    columns = [Column(name, name, ".1f") for name in names]
    columns += [Column(f"{name}: away", f"{name}_away", "+.2f") for name in names]
    title = f"{args.run}, in points; auto is {auto}"
    table = Table("precision", title, Column("in", "name"), *columns, Column("s", "seconds", ".0f"))
    missed = []
    for setting, row in found.items():
        away = {f"{name}_away": row[name] - exact[name] for name in names}
        table.add(name=setting.name, **row, **away)
        missed += [
            f"{name} in {setting.name} is {away[f'{name}_away']:+.2f} points away"
            for name in names
            # Differences of rounded numbers are a little off.
            if abs(away[f"{name}_away"]) > args.within + 1e-6
        ]
    table.show()
    save(args.out, table, auto=auto, images=args.images)
    return verdict(missed, f"all within {args.within} points of float32")


if __name__ == "__main__":
    raise SystemExit(main())
