"""The `cpu` backend against mamba-ssm's pure PyTorch reference: check first, then one table.

    export MAMBA_FORCE_BUILD=TRUE MAMBA_SKIP_CUDA_BUILD=TRUE
    pip install --no-build-isolation --no-deps --target .peer mamba-ssm==2.3.2.post1
    python benchmarks/selective_scan_cpu.py --peer .peer

Job: batch 1, 96 channels, the four routes of VMamba over a map, softplus, bias and skip, float32.

- `ours`: `selective_scan`, from maps at their own positions to merged outputs; nothing is left out.
- `scan`: `selective_scan_ref` alone, on routes already laid out as (1, 4*96, L) tensors: the
  recurrence, no merging.
- `cross`: the same with what SS2D needs around it: permuted copies of u, delta, B and C in, merged
  outputs back.

- `torch`: our own plain PyTorch backend, the same job as `ours`. A fairer measure of the backward
  pass: the reference's indexes (B, D, L, N) tensors step by step, and autograd answers each step
  with a whole tensor of zeros, so that its time grows with the square of L.

`selective_scan_ref` is called as published. Its package imports CUDA kernels on the way, which
stand in empty here; the reference uses none of them. A run that is predicted to need more memory
than --memory, or to take longer than --patience, is left out and the table says so. A call that
takes longer than --seconds is measured once.
"""

import argparse
import importlib
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path

import torch
from common import Column, Table, parser, save

from mmmamba.ops import route_table, selective_scan

ROUTES = ("row", "column", "row_reversed", "column_reversed")
CHANNELS = 96
TOLERANCE = 2e-5
SETTINGS = dict(delta_softplus=True)
OWN = ("ours", "torch")


def make_inputs(height: int, width: int, d_state: int, dtype: torch.dtype = torch.float32) -> dict:
    """Inputs of the size and spread that a trained VMamba block has."""
    gen = torch.Generator().manual_seed(0)
    L, K = height * width, len(ROUTES)

    def normal(*shape):
        return torch.randn(*shape, generator=gen).to(dtype)

    return dict(
        u=normal(1, L, CHANNELS),
        delta=normal(1, L, K, CHANNELS),
        A=-torch.arange(1, d_state + 1, dtype=dtype).expand(K, CHANNELS, d_state).contiguous(),
        B=normal(1, L, K, d_state),
        C=normal(1, L, K, d_state),
        D=normal(K, CHANNELS),
        delta_bias=normal(K, CHANNELS) - 4,
    )


def load_reference(peer: Path) -> Callable:
    """`selective_scan_ref` of an installed or --target mamba-ssm.

    Without the package's own imports of CUDA code.
    """
    package = peer / "mamba_ssm"
    if not package.is_dir():
        raise SystemExit(
            f"no mamba_ssm in {peer}: install it with the command at the top of this file"
        )
    for name, path in (("mamba_ssm", package), ("mamba_ssm.ops", package / "ops")):
        module = types.ModuleType(name)
        module.__path__ = [str(path)]
        sys.modules[name] = module
    sys.modules["selective_scan_cuda"] = types.ModuleType("selective_scan_cuda")
    return importlib.import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_ref


def laid_out(inputs: dict, index_KT: torch.Tensor) -> dict:
    """The four routes as the peer wants them: positions permuted, (B, K*D, L) and (B, K, N, L)."""
    index_TK, lane_K = index_KT.t().long(), torch.arange(len(ROUTES))

    def along(x_BLKX):
        return (
            x_BLKX.expand(-1, -1, len(ROUTES), -1)[:, index_TK, lane_K]
            .permute(0, 2, 3, 1)
            .contiguous()
        )

    return dict(
        u=along(inputs["u"].unsqueeze(2)).flatten(1, 2),
        delta=along(inputs["delta"]).flatten(1, 2),
        A=inputs["A"].flatten(0, 1),
        B=along(inputs["B"]),
        C=along(inputs["C"]),
        D=inputs["D"].flatten(),
        delta_bias=inputs["delta_bias"].flatten(),
    )


def merged(y_BXL: torch.Tensor, index_KT: torch.Tensor) -> torch.Tensor:
    """The peer's outputs summed at their positions, (B, L, D)."""
    y_BKLD = y_BXL.unflatten(1, (len(ROUTES), -1)).transpose(2, 3)
    return sum(y[:, order.long().argsort()] for y, order in zip(y_BKLD.unbind(1), index_KT))


def leaves(inputs: dict) -> dict:
    return {name: x.detach().clone().requires_grad_() for name, x in inputs.items()}


def check(backend: str) -> None:
    """Outputs and gradients against the float64 loop; leaves with an error if they differ."""
    for d_state in (1, 4, 16):
        for height, width in ((7, 9), (14, 14)):
            index = route_table(ROUTES, height, width)
            results = []
            for dtype, name in ((torch.float64, "naive"), (torch.float32, backend)):
                inputs = leaves(
                    {k: x.to(dtype) for k, x in make_inputs(height, width, d_state).items()}
                )
                y = selective_scan(**inputs, index=index, delta_softplus=True, backend=name)
                (y * torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y)).sum().backward()
                results.append({"y": y.detach()} | {k: x.grad for k, x in inputs.items()})
            for key, want in results[0].items():
                error = ((results[1][key] - want).abs().max() / want.abs().max()).item()
                if not error <= TOLERANCE:
                    raise SystemExit(
                        f"RED: {key} is off by {error:.1e} (relative) at {height}x{width}, d_state "
                        f"{d_state}: no speeds are printed"
                    )
    print(f"check: outputs and gradients equal the float64 loop to {TOLERANCE:g}")


def milliseconds(call: Callable[[], object], options: argparse.Namespace) -> float:
    """Median or best of up to --runs calls in about --seconds.

    The first is left out unless it alone took as long.
    """
    times, end = [], time.perf_counter() + options.seconds
    while len(times) < 4 or (len(times) <= options.runs and time.perf_counter() < end):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
        if times[0] > options.seconds:
            return times[0] * 1e3
    return (min if options.best else statistics.median)(times[1:]) * 1e3


def time_forward(
    call: Callable[[dict], torch.Tensor], inputs: dict, options: argparse.Namespace
) -> float:
    """Without autograd."""
    with torch.no_grad():
        return milliseconds(lambda: call(inputs), options)


def time_both(
    call: Callable[[dict], torch.Tensor], inputs: dict, options: argparse.Namespace
) -> float:
    """Forward, and gradients of all inputs for a given gradient of the output."""
    inputs = leaves(inputs)
    with torch.no_grad():
        grad = torch.ones_like(call(inputs))
    return milliseconds(
        lambda: torch.autograd.grad(call(inputs), list(inputs.values()), grad), options
    )


def contestants(
    reference: Callable, inputs: dict, index_KT: torch.Tensor, backend: str
) -> dict[str, tuple]:
    """By column: what is called, and with which inputs."""
    return {
        "ours": (
            lambda x: selective_scan(**x, index=index_KT, backend=backend, **SETTINGS),
            inputs,
        ),
        "torch": (
            lambda x: selective_scan(**x, index=index_KT, backend="torch", **SETTINGS),
            inputs,
        ),
        "scan": (lambda x: reference(**x, **SETTINGS), laid_out(inputs, index_KT)),
        "cross": (
            lambda x: merged(reference(**laid_out(x, index_KT), **SETTINGS), index_KT),
            inputs,
        ),
    }


def reason_to_skip(
    length: int, d_state: int, backward: bool, options: argparse.Namespace
) -> str | None:
    """Why the reference is not timed, or None.

    It holds (K*D, L, N) tensors, about 2 forward and 9 with autograd's; its backward writes one per
    step. Written zeros are counted at 3 GB/s, two such tensors a step; measured, that is right
    within a factor of 2.
    """
    gigabytes = len(ROUTES) * CHANNELS * length * d_state * 4 / 1e9
    if gigabytes * (9 if backward else 2.5) > options.memory:
        return "memory"
    return "patience" if backward and 2 * gigabytes * length / 3 > options.patience else None


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument(
        "--peer", type=Path, default=Path(".peer"), help="folder that holds mamba_ssm"
    )
    arguments.add_argument("--backend", default="cpu")
    arguments.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments.add_argument("--seconds", type=float, default=3.0, help="per measurement, about")
    arguments.add_argument("--runs", type=int, default=50, help="per measurement, at most")
    arguments.add_argument(
        "--best", action="store_true", help="the best run instead of the median (on a busy machine)"
    )
    arguments.add_argument("--memory", type=float, default=12.0, help="gigabytes the peer may use")
    arguments.add_argument(
        "--patience", type=float, default=30.0, help="seconds one call of the peer may take"
    )
    arguments.add_argument("--sizes", nargs="+", default=["56x56", "14x14", "200x334"])
    arguments.add_argument("--states", nargs="+", type=int, default=[1, 4, 16])
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    reference = load_reference(options.peer)
    start = time.perf_counter()
    check(options.backend)
    print(f"(first calls included, that took {time.perf_counter() - start:.1f} s)")

    table = Table(
        "scan",
        f"{options.backend}, {'best' if options.best else 'median'} milliseconds",
        Column("map", "map"),
        Column("d_state", "d_state"),
        Column("pass", "what"),
        Column("ours", "ours", ".2f"),
        Column("torch", "torch", ".2f"),
        Column("scan", "scan", ".2f"),
        Column("cross", "cross", ".2f"),
        Column("scan / ours", "scan_by_ours", ".0f"),
        Column("cross / ours", "cross_by_ours", ".0f"),
    )
    for size in options.sizes:
        height, width = map(int, size.split("x"))
        index = route_table(ROUTES, height, width)
        for d_state in options.states:
            inputs = make_inputs(height, width, d_state)
            calls = contestants(reference, inputs, index, options.backend)
            for title, measure in (("forward", time_forward), ("forward + backward", time_both)):
                skip = reason_to_skip(height * width, d_state, measure is time_both, options)
                row: dict[str, object] = {}
                for name, call in calls.items():
                    row[name] = skip if skip and name not in OWN else measure(*call, options)
                if not skip:
                    row["scan_by_ours"] = row["scan"] / row["ours"]
                    row["cross_by_ours"] = row["cross"] / row["ours"]
                table.add(map=size, d_state=d_state, what=title, **row)
    table.show()
    save(options.out, table)


if __name__ == "__main__":
    main()
