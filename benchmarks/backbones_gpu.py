"""Every family beside timm's Swin-T, ConvNeXt-T and ResNet-50: images a second and memory.

    python benchmarks/backbones_gpu.py [--models vmamba_t mlla_t] [--minutes 9]

Needs a GPU. First the families' parity tests run on it; one that misses its authors' figures gets
no numbers. Then bfloat16 autocast, channels-last images, and graphs as they are by default, for
ours and for timm's; a pass with graphs is compared with one without. Training is forward and
backward pass without the optimizer. "classifier" is 128 images of the side that the accuracy is
published for, 224 with few exceptions; "detector" is the backbone with its maps at 8 x 800 x 1344.
When the minutes are over, what is left is named, and what was measured is written.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, GIB, ROOT, Column, Table, clean, parser, save, wall_ms
from kernels import gpu_work
from mmengine.config import Config
from peers import LABELS, PEERS, RESULTS, timm_peer
from torch import Tensor, nn

import mmmamba
from mmmamba.acceleration.graphs import graph_model, ungraph_model
from mmmamba.checkpoints.catalogue import published_sizes
from mmmamba.commands.list.rows import top1_of
from mmmamba.models.backbones.factory import family_of

CASES = ("classifier", "detector")
OTHER_FORMS = ("_v0_", "_s1l20", "_s2l5", "_wo_search", "_midcls", "_stride8", "_21k")
"""In names of variants that are another form of one beside them."""
CAPTURED = 6
"""Passes of a size after which its graph is there."""
CLOSE = 2e-2
"""How far a pass with graphs may be from one without, of the largest value, in bfloat16."""


def usual_models() -> list[str]:
    """The variants with a published accuracy, the smallest of all families first."""
    by_family: dict[str, list[str]] = {}
    for name in published_sizes():
        if not any(form in name for form in OTHER_FORMS):
            by_family.setdefault(family_of(name).__name__, []).append(name)
    depth = max(map(len, by_family.values()))
    return [names[n] for n in range(depth) for names in by_family.values() if n < len(names)]


def size_of(name: str, case: str) -> tuple[int, int, int]:
    """Images, height and width."""
    if case == "detector":
        return 8, 800, 1344
    published = published_sizes().get(name)
    side = published.size if published else 224
    return 128, side, side


def at_once(commands: dict[str, list[str]]) -> dict[str, subprocess.CompletedProcess]:
    """Python processes by name, a few beside one another, each with its share of the cores."""
    jobs = 8
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = os.environ | dict(MMMAMBA_PARITY_DEVICE=DEVICE, OMP_NUM_THREADS=threads)

    def run(name: str) -> tuple[str, subprocess.CompletedProcess]:
        command = [sys.executable, *commands[name]]
        return name, subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True
        )

    with ThreadPoolExecutor(jobs) as pool:
        return dict(pool.map(run, commands))


def compile_kernels(script: str, models: list[str]) -> None:
    """Fill Triton's cache by a process a model, as one process compiles one kernel at a time."""
    done = at_once({name: [script, "--compile", name] for name in models})
    for name, process in done.items():
        if process.returncode:
            print(f"{name} does not run: {process.stderr[-1500:]}")


def failed_parity(families: set[str], slow: bool) -> dict[str, str]:
    """The last lines of the parity tests that fail on this device, by family."""
    pytest = ["-m", "pytest", "-q", "-W", "default", "--disable-warnings"]
    pytest += [] if slow else ["-m", "not slow"]
    done = at_once(
        {family: [*pytest, f"tests/parity/test_{family.lower()}.py"] for family in sorted(families)}
    )
    failed = {}
    for family, process in done.items():
        last = process.stdout.strip().splitlines()[-12:] or [process.stderr[-2000:]]
        print(f"parity of {family}: {last[-1]}")
        if process.returncode:
            failed[family] = "\n".join(last)
    return failed


def build(name: str, case: str) -> nn.Module:
    classifier = case == "classifier"
    if name in PEERS:
        return timm_peer(name, size_of(name, case)[1:], classifier)
    return mmmamba.create_backbone(
        name if classifier else detector_form(name), classifier=classifier
    )


def detector_form(name: str) -> str:
    """The variant that its authors put under detectors, where that is another."""
    form = f"{name}_det"
    return form if form in mmmamba.list_backbones() else name


def published(name: str) -> dict[str, Any]:
    """The family, and what its authors print: percent on ImageNet-1K, and on COCO by 1x."""
    if name in PEERS:
        return dict(family=LABELS[name], **RESULTS[name])
    row = dict(family=family_of(name).__name__, top1=top1_of(name, published_sizes().get(name)))
    config = ROOT / "configs" / "mask_rcnn" / f"{detector_form(name)}_1x_coco.py"
    if config.exists():
        expected = Config.fromfile(config, import_custom_modules=False).get("expected") or {}
        for key, metric in (("box_ap", "coco/bbox_mAP"), ("mask_ap", "coco/segm_mAP")):
            if value := expected.get("metrics", {}).get(metric):
                row[key] = round(100 * value, 1)
    return row


def tensors(outputs: Any) -> list[Tensor]:
    return list(outputs) if isinstance(outputs, (tuple, list)) else [outputs]


def measure(name: str, case: str, only_compile: bool = False) -> dict[str, Any]:
    """What `time_passes` says of a variant, and what its authors publish.

    Raises:
        AssertionError: graphs give other results than eager mode.
    """
    torch.manual_seed(0)
    batch, height, width = size_of(name, case)
    model = build(name, case).to(DEVICE)
    x = torch.randn(batch, 3, height, width, device=DEVICE).to(memory_format=torch.channels_last)
    row = dict(case=case, model=name, input=[batch, height, width], **published(name))
    return row | time_passes(name, model, lambda: model(x), batch, only_compile)


def time_passes(
    name: str, model: nn.Module, forward: Callable[[], Any], batch: int, only_compile: bool = False
) -> dict[str, Any]:
    """Images a second, milliseconds of GPU and GiB at the peak, without and with gradients.

    In bfloat16 autocast, with graphs; with them the millions of parameters.

    Args:
        forward: a pass of the model, which gives tensors.
        only_compile: let kernels be compiled, and measure nothing.

    Raises:
        AssertionError: graphs give other results than eager mode.
    """

    def infer() -> list[Tensor]:
        with torch.no_grad(), torch.autocast(DEVICE, torch.bfloat16):
            return tensors(forward())

    def train() -> None:
        model.zero_grad(set_to_none=True)
        with torch.autocast(DEVICE, torch.bfloat16):
            outputs = tensors(forward())
        torch.stack([m.float().mean() for m in outputs]).sum().backward()

    row = dict(parameters=sum(p.numel() for p in model.parameters()) / 1e6)
    for key, run in (("inference", infer), ("training", train)):
        model.train(run is train)
        # Kernels are compiled in the first pass, which asks for more memory than it needs.
        run()
        if only_compile:
            continue
        clean()
        eager = run()
        row[f"{key}_gib"] = torch.cuda.max_memory_allocated() / GIB
        graph_model(model, "auto")
        for _ in range(CAPTURED):
            graphed = run()
        if eager is not None and graphed is not None:
            check_same(name, graphed, eager)
        count = max(3, round(400 / wall_ms(run, 3)))
        wall = wall_ms(run, count)
        row[key] = batch / wall * 1e3
        row[f"{key}_ms"] = wall
        row[f"{key}_gpu"] = gpu_work(run).ms
        ungraph_model(model)
    return row


def check_same(name: str, got: list[Tensor], want: list[Tensor]) -> None:
    for a, b in zip(got, want, strict=True):
        off = float((a.float() - b.float()).abs().max() / b.float().abs().max())
        assert off <= CLOSE, f"{name}: with graphs {off:.1e} from eager mode"


def speed_table() -> Table:
    return Table(
        "speed",
        "bfloat16 autocast, images a second",
        Column("input", "input"),
        Column("model", "model"),
        Column("million", "parameters", ".1f"),
        Column("inference", "inference", ".0f"),
        Column("ms, GPU", "inference_gpu", ".1f"),
        Column("GiB", "inference_gib", ".1f"),
        Column("forward + backward", "training", ".0f"),
        Column("ms, GPU", "training_gpu", ".1f"),
        Column("GiB", "training_gib", ".1f"),
    )


def keep_rows(
    table: Table, record: Path, stays: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """Take rows of an earlier run into a table. Returns what is to be saved about that run."""
    kept = json.loads(record.read_text(encoding="utf-8"))
    table.rows += filter(stays, kept["tables"][table.name])
    return dict(before=kept["about"])


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", help="all with a published accuracy by default")
    options.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--compile", help="run a model once, for its kernels, and end")
    options.add_argument("--slow", action="store_true", help="also the large models' parity tests")
    options.add_argument(
        "--keep", type=Path, help="a record of another run, whose rows of other models are kept"
    )
    options.add_argument("--minutes", type=float, default=60.0, help="after which no model begins")
    args = options.parse_args()
    if DEVICE != "cuda":
        options.error("it needs a GPU")
    if args.compile:
        for case in args.cases:
            measure(args.compile, case, only_compile=True)
        return
    until = time.monotonic() + 60 * args.minutes
    models = args.models or usual_models()
    compile_kernels(__file__, models)
    wrong = failed_parity({family_of(name).__name__ for name in models}, args.slow)
    for last in wrong.values():
        print(last)
    models = [name for name in models if family_of(name).__name__ not in wrong]
    table = speed_table()
    more = {}
    if args.keep:
        now = {*args.peers, *models}
        more = keep_rows(table, args.keep, lambda row: row["model"] not in now)
    left: list[str] = []
    failed: list[str] = []
    for name in [*args.peers, *models]:
        for case in args.cases:
            if time.monotonic() > until:
                left.append(f"{name} at {case}")
                continue
            try:
                table.add(**measure(name, case))
            except (AssertionError, RuntimeError) as error:
                failed.append(f"{name} at {case}: {str(error)[:300]}")
                clean()
                continue
            clean()
            # What was measured stays if the time of a run on a lent card is up.
            save(args.out, table, **more)
    table.show(150)
    print(f"their authors' figures were met before by {', '.join(models)}")
    print("\n".join([*(f"NOT MEASURED {one}" for one in left), *(f"FAILED {x}" for x in failed)]))
    sys.exit(bool(wrong or failed))


if __name__ == "__main__":
    main()
