"""Exported backbones on a GPU beside eager mode and CUDA graphs.

    python benchmarks/export_gpu.py [--models vmamba_t] [--minutes 9] [--keep FOLDER]

Forms: `eager`; `graphs` (CUDA graphs, as they are by default); `pt2`, a program of torch.export
that calls our operators; `aoti`, the same compiled by AOTInductor; `aoti alone`, compiled with the
scan lowered to PyTorch's operators, which runs without mmmamba; `onnxruntime` with its CUDA
provider, where that is installed. Each is first compared with eager mode, and one that differs has
no numbers. Packages are compiled beforehand, a process each; with `--keep` a second run finds them.
`--tiny` tries all of it with a small model, on a CPU too.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import DEVICE, GIB, ROOT, Column, Table, clean, parser, save, wall_ms
from kernels import Work, gpu_work
from torch import Tensor

import mmmamba
from mmmamba.acceleration.graphs import graph_model
from mmmamba.exporting.aoti import compile_program
from mmmamba.exporting.graphs import Graph, graph_of
from mmmamba.exporting.pt2 import torch_program
from mmmamba.exporting.tracing import trace

MODELS = ("vmamba_t", "mambavision_t", "mobilemamba_t2")
CASES = dict(one=(1, 224, 224), many=(128, 224, 224), detector=(8, 800, 1344))
"""Images, height and width."""
TINY = dict(tiny=(2, 64, 96))
PRECISIONS = dict(bfloat16=torch.bfloat16, float32=None)
FORMS = ("eager", "graphs", "pt2", "aoti", "aoti alone", "onnxruntime")
CLOSE = dict(bfloat16=4e-2, float32=2e-4)
"""How far a form may be from eager mode, of the largest value."""
CAPTURED = 6
"""Passes of a size after which its graph is there."""
SCAN_KERNELS = ("chunk_ends_kernel", "carry_kernel", "scan_kernel", "merge_kernel")
"""Their names in `ops/selective_scan`."""
CUDA = "CUDAExecutionProvider"

Call = Callable[[Tensor], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Cell:
    """One thing that is timed."""

    model: str
    case: str
    precision: str
    form: str

    def package(self, folder: Path) -> Path:
        """Where it lies if AOTInductor compiled it."""
        name = f"{self.model}_{self.case}_{self.precision}_{self.form.replace(' ', '_')}"
        return folder / f"{name}.aoti.pt2"

    @property
    def arguments(self) -> list[str]:
        return [self.model, self.case, self.precision, self.form]


def size_of(case: str) -> tuple[int, int, int]:
    return (CASES | TINY)[case]


def images(case: str) -> Tensor:
    batch, height, width = size_of(case)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator).to(DEVICE)


class Cast(Graph):
    """A graph under autocast, which a program holds if it is entered while it is traced."""

    task = "backbone"

    def __init__(self, graph: Graph, dtype: torch.dtype) -> None:
        super().__init__()
        # `graph` is what tracers call their own.
        self.within, self.dtype = graph, dtype
        self.output_names = graph.output_names

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(DEVICE, self.dtype):
            return self.within(*inputs)


def build(cell: Cell) -> Graph:
    torch.manual_seed(0)
    small = dict(embed_dims=16, depths=(1, 1, 1, 1)) if cell.case in TINY else {}
    graph = graph_of(mmmamba.create_backbone(cell.model, **small)).eval().to(DEVICE)
    dtype = PRECISIONS[cell.precision]
    return graph if dtype is None else Cast(graph, dtype).eval()


def program(cell: Cell) -> torch.export.ExportedProgram:
    return torch_program(build(cell), [images(cell.case)], standalone=cell.form == "aoti alone")


def make(cell: Cell, folder: Path) -> Call:
    """The form of a model, ready to be called.

    Raises:
        LookupError: it cannot be had here; says why.
    """
    if cell.form in ("eager", "graphs"):
        graph = build(cell)
        if cell.form == "graphs":
            if DEVICE != "cuda":
                raise LookupError("needs a GPU")
            inner = graph.within if isinstance(graph, Cast) else graph
            graph_model(inner.backbone, "auto")
        return graph
    if cell.form == "pt2":
        return program(cell).module()
    if cell.form == "onnxruntime":
        return onnx_call(cell)
    path = cell.package(folder)
    if not path.is_file():
        raise LookupError("was not compiled")
    return torch._inductor.aoti_load_package(os.fspath(path))


def onnx_call(cell: Cell) -> Call:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise LookupError("not installed here") from error
    from mmmamba.exporting.onnx import to_onnx

    provider = CUDA if DEVICE == "cuda" else "CPUExecutionProvider"
    if provider not in onnxruntime.get_available_providers():
        raise LookupError("no CUDA provider installed here")
    if cell.precision != "float32":
        raise LookupError("measured in float32 alone")
    import onnx_ir as ir

    graph, x = build(cell), images(cell.case)
    model = ir.to_proto(to_onnx(trace(graph, [x]), graph)).SerializeToString()
    session = onnxruntime.InferenceSession(model, providers=[provider])

    def call(x: Tensor) -> tuple[Tensor, ...]:
        bound = session.io_binding()
        bound.bind_input("images", DEVICE, 0, "float32", tuple(x.shape), x.data_ptr())
        for name in graph.output_names:
            bound.bind_output(name, DEVICE)
        session.run_with_iobinding(bound)
        return tuple(torch.from_numpy(one) for one in bound.copy_outputs_to_cpu())

    return call


def off(got: tuple[Tensor, ...], want: tuple[Tensor, ...]) -> float:
    """The largest difference, of the largest value."""
    found = 0.0
    for a, b in zip(got, want, strict=True):
        b = b.float().cpu()
        found = max(found, float((a.float().cpu() - b).abs().max() / b.abs().max()))
    return found


def measure(cell: Cell, want: tuple[Tensor, ...] | None, folder: Path) -> dict[str, Any]:
    """Milliseconds by the clock and of GPU, GiB at the peak; why not, where it cannot be had."""
    batch = size_of(cell.case)[0]
    row = dict(model=cell.model, input=size_of(cell.case), precision=cell.precision, form=cell.form)
    x = images(cell.case)
    try:
        clean()
        with torch.no_grad():
            call = make(cell, folder)
            for _ in range(CAPTURED if cell.form == "graphs" else 1):
                got = call(x)
            row["off"] = 0.0 if want is None else off(got, want)
            if row["off"] > CLOSE[cell.precision]:
                return row | dict(note=f"DIFFERS by {row['off']:.1e}")
            if DEVICE == "cuda":
                torch.cuda.reset_peak_memory_stats()
            count = max(3, round(400 / wall_ms(lambda: call(x), 2)))
            row["ms"] = wall_ms(lambda: call(x), count)
            work = gpu_work(lambda: call(x))
    except LookupError as error:
        return row | dict(note=str(error))
    except (RuntimeError, ValueError) as error:
        return row | dict(note=f"FAILED: {str(error).strip().splitlines()[0][:120]}")
    row["rate"] = batch / row["ms"] * 1e3
    if DEVICE == "cuda":
        row |= dict(gpu=work.ms, kernels=work.kernels, note=scan_kernels(cell, work))
        row["gib"] = torch.cuda.max_memory_allocated() / GIB
    if want is None:
        row["want"] = got
    return row


def scan_kernels(cell: Cell, work: Work) -> str:
    """How many kernels of the scan's own ran, of which a lowered one has none."""
    count = sum(work.counts[name] for name in SCAN_KERNELS)
    return "" if cell.form == "aoti alone" else f"{count:.0f} of the scan"


def compile_all(cells: list[Cell], folder: Path, jobs: int, until: float) -> dict[Cell, str]:
    """Compile packages, a process each, a few beside one another; what they failed with."""
    missing = [cell for cell in cells if not cell.package(folder).is_file()]
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    environment = os.environ | dict(OMP_NUM_THREADS=threads, TORCHINDUCTOR_COMPILE_THREADS=threads)

    def run(cell: Cell) -> str:
        left = until - time.monotonic()
        if left < 1:
            return "the time was over"
        command = [sys.executable, __file__, "--compile", *cell.arguments, "--keep", str(folder)]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=left
            )
        except subprocess.TimeoutExpired:
            return "the time was over"
        return done.stderr.strip().splitlines()[-1][:200] if done.returncode else ""

    with ThreadPoolExecutor(jobs) as pool:
        said = dict(zip(missing, pool.map(run, missing)))
    return {cell: why for cell, why in said.items() if why}


def arguments() -> argparse.Namespace:
    options = parser(__doc__)
    options.add_argument("--models", nargs="+", default=list(MODELS))
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    options.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    options.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    options.add_argument("--tiny", action="store_true", help="a small model, on a CPU too")
    options.add_argument("--jobs", type=int, default=8, help="packages compiled at once")
    options.add_argument("--minutes", type=float, default=9.0, help="after which nothing begins")
    options.add_argument("--keep", type=Path, help="folder of packages, kept for the next run")
    options.add_argument("--compile", nargs=4, help="compile one package, and end")
    args = options.parse_args()
    if args.tiny:
        args.models, args.cases = ["vmamba_t"], list(TINY)
    elif DEVICE != "cuda" and not args.compile:
        options.error("it needs a GPU; --tiny tries it on a CPU")
    return args


def main() -> None:
    args = arguments()
    if args.compile:
        cell = Cell(*args.compile)
        compile_program(program(cell), cell.package(args.keep))
        return
    until = time.monotonic() + 60 * args.minutes
    with tempfile.TemporaryDirectory() as scratch:
        folder = args.keep or Path(scratch)
        folder.mkdir(exist_ok=True)
        table = run_all(args, folder, until)
    table.show(150)
    wrong = [row for row in table.rows if row.get("note", "").startswith(("DIFFERS", "FAILED"))]
    sys.exit(bool(wrong))


def run_all(args: argparse.Namespace, folder: Path, until: float) -> Table:
    table = Table(
        "speed",
        "exported backbones: milliseconds of a batch",
        Column("model", "model"),
        Column("input", "input"),
        Column("precision", "precision"),
        Column("form", "form"),
        Column("ms", "ms", ".2f"),
        Column("ms, GPU", "gpu", ".2f"),
        Column("kernels", "kernels", ".0f"),
        Column("images a second", "rate", ".0f"),
        Column("GiB", "gib", ".1f"),
        Column("off", "off", ".0e"),
        Column("", "note"),
    )
    pairs = [(case, precision) for case in args.cases for precision in args.precisions]
    groups = [(model, *pair) for model in args.models for pair in pairs]
    packages = [
        Cell(*group, form) for group in groups for form in args.forms if form.startswith("aoti")
    ]
    # A third of the time is left to measure in.
    compiling = time.monotonic() + (until - time.monotonic()) * 2 / 3
    failed = compile_all(packages, folder, args.jobs, compiling)
    for group in groups:
        if time.monotonic() > until:
            print("NOT MEASURED", *group)
            continue
        want = None
        for form in dict.fromkeys(("eager", *args.forms)):
            cell = Cell(*group, form)
            row = measure(cell, want, folder)
            if cell in failed:
                row["note"] = f"FAILED: {failed[cell]}"
            want = row.pop("want", want)
            table.add(**row)
            # What was measured stays if the time of a run on a lent card is up.
            print(row, flush=True)
            save(args.out, table)
    return table


if __name__ == "__main__":
    main()
