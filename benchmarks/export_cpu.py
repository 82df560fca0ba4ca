"""Backbones as files on a CPU: how long an export takes, how exact it is, and how fast it runs.

    python benchmarks/export_cpu.py --models all --jobs 8            # every backbone, checked
    python benchmarks/export_cpu.py --models all --dynamic --jobs 8  # one file for all sizes
    python benchmarks/export_cpu.py --time vmamba_t mambavision_t    # one thread, beside eager mode

Each model is exported by `mmmamba.export`, which compares the file with PyTorch. With `--time`
every round runs eager mode, onnxruntime and OpenVINO in turn, one image of 224 x 224 and one thread
each, so that whatever else the machine does, it does to all; the least of all rounds counts.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from common import MIB, Column, Table, parser, save, verdict

SIDE = 224
SECONDS = 60
"""An export of a fixed size may take, on a machine that does nothing else."""
TARGETS = {
    "vmamba_t": 0.95,
    "mambavision_t": 0.75,
    "mobilemamba_t2": 0.65,
    "efficientvmamba_t": 1.2,
    "vim_t": 1.6,
}
"""Most time that the better of the runtimes may take, in times of eager mode."""
ENDINGS = {"onnx": ".onnx", "openvino": ".xml"}


def export(name: str, dynamic: bool, formats: list[str]) -> dict[str, Any]:
    """One model as files, in a process of its own."""
    request = json.dumps(dict(name=name, dynamic=dynamic, formats=formats))
    done = subprocess.run(
        [sys.executable, __file__, "--one", request], capture_output=True, text=True
    )
    if done.returncode:
        return dict(model=name, format="", error=float("inf"), why=done.stderr.strip()[-300:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def one(name: str, dynamic: bool, formats: list[str]) -> dict[str, Any]:
    """What `export` does, there."""
    import torch

    import mmmamba

    torch.set_num_threads(1)
    row: dict[str, Any] = dict(model=name)
    with tempfile.TemporaryDirectory() as folder:
        for kind in formats:
            out = Path(folder, name + ENDINGS[kind])
            started, used = time.perf_counter(), time.process_time()
            made = mmmamba.export(
                name, format=kind, dynamic=dynamic, out=out, log=lambda line: None
            )
            row |= {
                f"{kind}_seconds": time.perf_counter() - started,
                f"{kind}_cpu_seconds": time.process_time() - used,
                f"{kind}_error": worst(made.report),
                f"{kind}_rounding": rounding(made.report),
                f"{kind}_passed": made.report.passed,
                f"{kind}_MiB": sum(f.stat().st_size for f in _files(out)) / MIB,
            }
    return row


def _files(out: Path) -> list[Path]:
    """A file and those of its weights."""
    beside = [out.with_name(out.name + ".data"), out.with_suffix(".bin")]
    return [out, *(file for file in beside if file.exists())]


def worst(report: Any) -> float:
    """The largest error of a map, as a share of its spread."""
    outputs = report.to_json()["outputs"].values()
    return max(numbers["error_of_spread"] for numbers in outputs)


def rounding(report: Any) -> float | None:
    """The largest error that PyTorch itself makes in float32, where it was looked at."""
    outputs = report.to_json()["outputs"].values()
    return max(numbers["rounding_of_spread"] or 0.0 for numbers in outputs) or None


def measure(name: str, rounds: int) -> dict[str, Any]:
    """Times of eager mode and of both runtimes, one thread each."""
    import numpy as np
    import torch

    import mmmamba
    from mmmamba.exporting.runtimes import open_runtime

    torch.set_num_threads(1)
    torch.manual_seed(0)
    x = np.random.default_rng(0).standard_normal((1, 3, SIDE, SIDE)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder, "weights.pth")
        model = mmmamba.create_backbone(name).eval()
        torch.save(model.state_dict(), weights)
        runs = {"eager": lambda: model(torch.from_numpy(x))}
        reports = {}
        for kind in ENDINGS:
            out = Path(folder, name + ENDINGS[kind])
            made = mmmamba.export(name, str(weights), format=kind, out=out, log=lambda line: None)
            reports[kind] = made.report
            runtime = open_runtime(out, threads=1)
            runs[kind] = lambda runtime=runtime: runtime.run({"images": x})
        times: dict[str, list[float]] = {kind: [] for kind in runs}
        with torch.inference_mode():
            for run in runs.values():
                run()
            for _ in range(rounds):
                for kind, run in runs.items():
                    started = time.perf_counter()
                    run()
                    times[kind].append((time.perf_counter() - started) * 1e3)
    least = {kind: min(each) for kind, each in times.items()}
    best = min(least[kind] for kind in ENDINGS)
    return dict(
        model=name,
        passed=all(report.passed for report in reports.values()),
        **{f"{kind}_ms": value for kind, value in least.items()},
        ratio=best / least["eager"],
        target=TARGETS.get(name, float("nan")),
    )


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--models", nargs="+", default=[], help="names of backbones, or all")
    flags.add_argument("--time", nargs="*", help="names of backbones; those with a target if none")
    flags.add_argument("--dynamic", action="store_true")
    flags.add_argument("--formats", nargs="+", default=["onnx"], choices=[*ENDINGS])
    flags.add_argument("--jobs", type=int, default=1, help="models exported side by side")
    flags.add_argument("--rounds", type=int, default=20)
    flags.add_argument("--one", type=json.loads, help="used by the script itself")
    args = flags.parse_args()
    if args.one:
        print(json.dumps(one(**args.one)))
        return 0
    files = Table("files", "exported, and compared with PyTorch", *_columns(args.formats))
    speed = Table(
        "speed",
        f"one image of {SIDE} x {SIDE}, one thread, ms",
        Column("model", "model"),
        *(Column(kind, f"{kind}_ms", ".1f") for kind in ("eager", *ENDINGS)),
        Column("best / eager", "ratio", ".2f"),
        Column("at most", "target", ".2f"),
    )
    missed = []
    os.environ["OMP_NUM_THREADS"] = "1"
    names = args.models
    if names == ["all"]:
        import mmmamba

        names = mmmamba.list_backbones()
    with ThreadPoolExecutor(args.jobs) as pool:
        begun = [pool.submit(export, name, args.dynamic, args.formats) for name in names]
        for done in as_completed(begun):
            row = done.result()
            files.add(**row)
            missed += _missed(row, args)
            # Of a run that is cut off, what was measured stays.
            print(json.dumps(row), flush=True)
            save(args.out, files, speed, device="cpu")
    for name in list(TARGETS) if args.time == [] else args.time or []:
        row = measure(name, args.rounds)
        speed.add(**row)
        if not row["passed"] or row["ratio"] > row["target"]:
            missed.append(f"{name}: {row['ratio']:.2f} of eager mode, at most {row['target']}")
    for table in (files, speed):
        if table.rows:
            table.show()
    save(args.out, files, speed, device="cpu")
    return verdict(missed, "all targets met")


def _columns(formats: list[str]) -> list[Column]:
    columns = [Column("model", "model")]
    for kind in formats:
        columns += [
            Column(f"{kind} s", f"{kind}_seconds", ".0f"),
            Column("CPU s", f"{kind}_cpu_seconds", ".0f"),
            Column("error / spread", f"{kind}_error", ".1e"),
            Column("MiB", f"{kind}_MiB", ".0f"),
        ]
    return columns


def _missed(row: dict[str, Any], args: Any) -> list[str]:
    if "why" in row:
        return [f"{row['model']}: {row['why']}"]
    found = []
    for kind in args.formats:
        if not row[f"{kind}_passed"]:
            found.append(f"{row['model']}: {kind} is off by {row[f'{kind}_error']:.1e}")
        if not args.dynamic and row[f"{kind}_cpu_seconds"] > SECONDS:
            found.append(f"{row['model']}: {kind} took {row[f'{kind}_cpu_seconds']:.0f} s")
    return found


if __name__ == "__main__":
    sys.exit(main())
