"""Which backbone goes into which method of mmdet and mmseg: a step and a prediction of each.

    OMP_NUM_THREADS=1 python benchmarks/drop_in/run.py --jobs 16
    OMP_NUM_THREADS=1 python benchmarks/drop_in/run.py --only mmdet/retinanet --backbones vmamba_t

Beside the config as shipped, `unmodified`. Each case runs in a process of its own, which is stopped
after `--limit` seconds. Results go to `results.json` beside this file (cases not named keep
theirs); `page.py` makes docs/drop_in_sweep.md of them. Exit code 1: something is not as `known.py`
says.
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import multiprocessing.connection
import os
import sys
import time
import traceback
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.drop_in.cases import BACKBONES, CASES, CONTROL
from benchmarks.drop_in.known import surprises

RESULTS = Path(__file__).with_name("results.json")
VERSIONS = ("torch", "onedl-mmengine", "onedl-mmcv", "onedl-mmdetection", "onedl-mmsegmentation")
# Forked from a process that has imported everything once.
FORK = multiprocessing.get_context("fork")


@dataclass
class Running:
    """A case in its process."""

    name: str
    backbone: str
    process: multiprocessing.Process
    answer: multiprocessing.connection.Connection
    began: float


def start(name: str, backbone: str) -> Running:
    """Run a case in a process of its own."""
    answer, side = FORK.Pipe(duplex=False)
    process = FORK.Process(target=_child, args=(name, backbone, side), daemon=True)
    process.start()
    side.close()
    return Running(name, backbone, process, answer, time.monotonic())


def _child(name: str, backbone: str, answer: multiprocessing.connection.Connection) -> None:
    import torch

    from benchmarks.drop_in.step import run_case

    torch.set_num_threads(1)
    # What packages log of each parameter is no output of this program; faults come through the
    # pipe.
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), sys.stdout.fileno())
        os.dup2(nothing.fileno(), sys.stderr.fileno())
    record = {}
    try:
        run_case(name, backbone, record)
        del record["stage"]
        answer.send(dict(ok=True, **record))
    # Whatever a config raises is its result.
    except Exception as error:  # noqa: BLE001
        lines = str(error).strip().splitlines() or [""]
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        answer.send(
            dict(
                ok=False,
                **record,
                reason=f"{type(error).__name__}: {lines[0][:300]}",
                where=where,
                trace=traceback.format_exc(),
            )
        )


def finish(case: Running, limit: float) -> dict | None:
    """A case's result, None while it runs."""
    seconds = round(time.monotonic() - case.began, 1)
    if case.answer.poll():
        try:
            result = case.answer.recv()
        except EOFError:
            case.process.join()
            result = dict(
                ok=False, reason=f"the process died with exit code {case.process.exitcode}"
            )
    elif not case.process.is_alive():
        result = dict(ok=False, reason=f"the process died with exit code {case.process.exitcode}")
    elif seconds > limit:
        case.process.kill()
        result = dict(ok=False, reason=f"stopped after {limit:g} seconds")
    else:
        return None
    case.process.join()
    return {**result, "seconds": seconds}


def sweep(wanted: list[tuple[str, str]], jobs: int, limit: float):
    """Yield `(name, backbone, result)` in the order in which the cases end."""
    # Before the fork, so that no case pays for it.
    import mmmamba  # noqa: F401, I001  before mmdet and mmseg
    import mmdet.models  # noqa: F401
    import mmseg.models  # noqa: F401
    from benchmarks.drop_in import step  # noqa: F401

    left, running = list(wanted)[::-1], []
    while left or running:
        while left and len(running) < jobs:
            running.append(start(*left.pop()))
        multiprocessing.connection.wait([case.answer for case in running], timeout=1)
        for case in list(running):
            result = finish(case, limit)
            if result is not None:
                running.remove(case)
                yield case.name, case.backbone, result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", default=["*"], help="cases, by shell patterns")
    parser.add_argument(
        "--backbones", nargs="+", choices=(CONTROL, *BACKBONES), default=(CONTROL, *BACKBONES)
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--limit", type=float, default=300, help="seconds of a case")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--trace", action="store_true", help="print where a case failed")
    args = parser.parse_args()
    names = [name for name in CASES if any(fnmatch(name, pattern) for pattern in args.only)]
    wanted = [(name, backbone) for name in names for backbone in args.backbones]
    known = json.loads(args.out.read_text()) if args.out.exists() else {"results": {}}
    for count, (name, backbone, result) in enumerate(sweep(wanted, args.jobs, args.limit), 1):
        trace = result.pop("trace", "")
        said = (
            "ok"
            if result["ok"]
            else f"{result.get('stage')}: {result['reason']}  ({result.get('where', '')})"
        )
        print(
            f"[{count}/{len(wanted)}] {name} {backbone} {result['seconds']} s: {said}", flush=True
        )
        if args.trace and trace:
            print(trace, flush=True)
        known["results"].setdefault(name, {})[backbone] = result
    known["versions"] = {package: importlib.metadata.version(package) for package in VERSIONS}
    known["python"] = sys.version.split()[0]
    known["results"] = {name: known["results"][name] for name in CASES if name in known["results"]}
    args.out.write_text(json.dumps(known, indent=1) + "\n")
    unexpected = list(surprises(known["results"]))
    print("\n".join(unexpected) or "everything as listed in known.py")
    sys.exit(bool(unexpected))


if __name__ == "__main__":
    main()
