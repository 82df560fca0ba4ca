"""What a user gets by default, beside mmdet's models and timm's on the same card.

    python benchmarks/defaults_gpu.py --data .data/coco_mini [--rows steps mamba_yolo_t-640]

Each of ours as it runs by default (CUDA graphs "auto", half precision, TF32) and without graphs:
milliseconds of a step on the wall, as a loop has it, and on the GPU; kernels, launches by the CPU,
the memory that PyTorch holds at its peak, and by how much the first three passes come later than
without graphs, all kernels being compiled. First results, losses, weights and gradients with graphs
must be eager mode's on the same inputs and seeds; where they are not, there are no numbers. Random
weights that find as many boxes as trained ones (`yolo_models.py`). A row that fails says so, and
the others go on; what is there is written to `--out` after each. With --keep rows that lie there
from an earlier run stay, unless they are measured anew.

`--rows` takes groups (backbones, passes, masks, boxes, steps, files, multiscale) and names of rows.
Without a GPU, or with --small: tiny models and images.
"""

from __future__ import annotations

import argparse
import json
import math
import time
import traceback
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, Column, Table, clean, parser, save, verdict

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmdet: mmcv's operators)
from defaults import multiscale
from defaults.cases import LATER, MEMORY, RATIO, Case, all_cases
from defaults.loads import measure_default, measure_peer
from mmdet.utils import register_all_modules
from mmengine.logging import MMLogger

MULTISCALE = "multiscale"


def measured(case: Case, small: bool) -> dict[str, Any]:
    load = case.make(small)
    return measure_default(load) if case.ours else measure_peer(load)


def compared(case: Case, row: dict[str, Any], peer: dict[str, Any]) -> dict[str, Any]:
    """The row with what was wanted of it, and what of that was missed."""
    found = row | dict(wanted_ms=case.ms, wanted_gpu=case.gpu, wanted_times=case.times)
    found["ratio"] = row["ms"] / row["gpu"]
    took = row.get("files", row["ms"])
    if "ms" in peer:
        found |= dict(peer_ms=peer.get("files", peer["ms"]))
        found["times"] = found["peer_ms"] / took
    if not case.ours:
        return found
    found["eager_ratio"] = row["eager_ms"] / row["eager_gpu"]
    limits = [
        ("wall over GPU time", found["ratio"], RATIO),
        ("% more memory", row["memory"], MEMORY),
        ("seconds later", row["later"], LATER),
        ("ms", took, case.ms),
        ("ms on the GPU", row["gpu"], case.gpu),
        # Turned around, so that less is better here too.
        ("of the peer's time", 1 / found.get("times", math.inf), 1 / (case.times or math.nan)),
    ]
    found["missed"] = [
        f"{value:.3g} {name}, wanted {wanted:.3g}"
        for name, value, wanted in limits
        if wanted is not None and value > wanted
    ]
    # A CPU can say nothing of it.
    found["met"] = not found["missed"] if DEVICE == "cuda" else None
    return found


def chosen(cases: dict[str, Case], rows: list[str]) -> dict[str, Case]:
    """The rows of these names and groups, and their peers."""
    some = {name for name, case in cases.items() if name in rows or case.group in rows}
    some |= {cases[name].peer for name in some}
    return {name: case for name, case in cases.items() if name in some}


def replace(table: Table, key: str, **row: Any) -> None:
    """Add a row, in place of one that is there for the same thing."""
    for place, one in enumerate(table.rows):
        if one[key] == row[key]:
            table.rows[place] = row
            return
    table.add(**row)


def save_all(out: Path | None, *tables: Table) -> None:
    """Write the tables that have rows."""
    save(out, *(table for table in tables if table.rows))


def keep_rows(out: Path, *tables: Table) -> None:
    """Take over what an earlier run wrote."""
    earlier = json.loads(out.read_text(encoding="utf-8"))["tables"]
    for table in tables:
        table.rows = earlier.get(table.name, [])


def measure_rows(table: Table, cases: dict[str, Case], args: argparse.Namespace) -> None:
    """Add a row for each case, and write what there is."""
    found: dict[str, dict[str, Any]] = {}
    for name, case in cases.items():
        start = time.time()
        about = dict(name=name, group=case.group, model=case.model, what=case.what, ours=case.ours)
        try:
            row = compared(case, measured(case, args.small), found.get(case.peer, {}))
        # Any error is the row's result, and the minutes of a card are too dear to end here.
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            row = dict(failed=f"{type(error).__name__}: {error}".strip().splitlines()[-1])
        found[name] = row
        replace(table, "name", **about, **row)
        save_all(args.out, table, args.multiscale)
        clean()
        shown = {key: round(v, 3) if isinstance(v, float) else v for key, v in row.items()}
        print(f"{name}, {time.time() - start:.0f} s: {shown}", flush=True)


def rows_table() -> Table:
    return Table(
        "rows",
        "by default, and without graphs",
        Column("row", "name"),
        Column("ms", "ms", ".2f"),
        Column("GPU", "gpu", ".2f"),
        Column("wall/GPU", "ratio", ".2f"),
        Column("kernels", "kernels", ".0f"),
        Column("launches", "launches", ".0f"),
        Column("eager, ms", "eager_ms", ".2f"),
        Column("GPU, eager", "eager_gpu", ".2f"),
        Column("kernels, eager", "eager_kernels", ".0f"),
        Column("GiB", "gib", ".2f"),
        Column("+ %", "memory", ".0f"),
        Column("later, s", "later", ".1f"),
        Column("files, ms", "files", ".1f"),
        Column("files, eager", "eager_files", ".1f"),
        Column("x peer", "times", ".2f"),
        Column("met", "met"),
        Column("failed", "failed"),
    )


def multiscale_table() -> Table:
    return Table(
        MULTISCALE,
        "backbone and neck of Mask R-CNN VMamba-T, short sides of 480 to 800, a training step",
        Column("divisor", "divisor"),
        Column(f"sizes in {multiscale.MANY}", "sizes"),
        Column("padding %", "padding", ".1f"),
        Column("% in the 64 most frequent", "covered_64", ".0f"),
        Column("batches", "batches"),
        Column("sizes in them", "differing"),
        Column("eager, ms", "eager", ".1f"),
        Column("graphs, ms", "graphs", ".1f"),
        Column("sizes that came, ms", "same", ".1f"),
        Column("GiB", "gib", ".1f"),
    )


def main() -> int:
    options = parser(__doc__)
    options.add_argument(
        "--data", type=Path, default=Path(".data/coco_mini"), help="COCO annotations/ and train/"
    )
    options.add_argument("--rows", nargs="+", help="groups and names; all by default")
    options.add_argument("--keep", action="store_true", help="rows that are in --out")
    options.add_argument("--small", action="store_true", help="tiny models and images")
    options.add_argument("--batches", type=int, default=120, help="of many sizes")
    args = options.parse_args()
    args.small |= DEVICE == "cpu"
    cases = all_cases(args.data)
    names = [*dict.fromkeys(case.group for case in cases.values()), MULTISCALE]
    if args.keep and not (args.out and args.out.exists()):
        options.error("--keep wants a file of an earlier run as --out")
    unknown = set(args.rows or ()) - {*names, *cases}
    if unknown:
        options.error(
            f"no rows {', '.join(sorted(unknown))}; there are {', '.join(names)} and "
            f"{', '.join(cases)}"
        )
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    register_all_modules()
    MMLogger.get_instance("benchmark", log_level="ERROR")
    table, args.multiscale = rows_table(), multiscale_table()
    if args.keep:
        keep_rows(args.out, table, args.multiscale)
    rows = args.rows or names
    measure_rows(table, chosen(cases, rows), args)
    failed = [f"{row['name']}: {row['failed']}" for row in table.rows if "failed" in row]
    if MULTISCALE in rows:
        for row in multiscale.measure(8 if args.small else args.batches, args.small):
            replace(args.multiscale, "divisor", **row)
            save_all(args.out, table, args.multiscale)
    for one in (table, args.multiscale):
        if one.rows:
            one.show(width=200)
    missed = [f"{row['name']}: {miss}" for row in table.rows for miss in row.get("missed", ())]
    return verdict(failed + (missed if DEVICE == "cuda" else []), "all reached")


if __name__ == "__main__":
    raise SystemExit(main())
