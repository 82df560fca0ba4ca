"""`selective_scan` on a GPU beside mamba-ssm's kernel and the bound of its bytes.

    python benchmarks/selective_scan_gpu.py --check     checks against the loop in float64 first
    python benchmarks/selective_scan_gpu.py --sweep …   several tilings instead of the chosen ones

mamba-ssm's kernel is timed where `selective_scan_cuda` can be imported, on tensors already in its
layout (channels first, one copy of the map for each route), without the copies and the merge that
it needs for K > 1. Needs torch and triton only: `mmmamba.ops` may stand alone on the path.
"""

import importlib
import importlib.util
import itertools
import multiprocessing
import time
from dataclasses import dataclass
from typing import Any

import torch
from common import NAN, Column, Table, copy_speed, median_ms, parser, save

from mmmamba.ops import route_table, selective_scan
from mmmamba.ops.selective_scan import triton_choice
from mmmamba.ops.selective_scan.common import ScanArgs

backend = importlib.import_module("mmmamba.ops.selective_scan.triton")
CROSS = ("row", "column", "row_reversed", "column_reversed")


@dataclass(frozen=True)
class Case:
    name: str
    batch: int
    height: int
    width: int
    channels: int
    d_state: int
    routes: tuple[str, ...] = ()

    @property
    def K(self) -> int:
        return max(1, len(self.routes))

    def inputs(self, dtype=torch.bfloat16, seed=0) -> dict:
        torch.manual_seed(seed)
        L, K, D, N = self.height * self.width, self.K, self.channels, self.d_state
        maps = dict(u=(L, 1, D), delta=(L, K, D), B=(L, K, N), C=(L, K, N), dy=(L, 1, D))
        tensors = {
            name: torch.randn(self.batch, *shape, device="cuda").to(dtype)
            for name, shape in maps.items()
        }
        tensors |= dict(
            A=-torch.rand(K, D, N, device="cuda") - 0.1,
            D=torch.randn(K, D, device="cuda"),
            bias=torch.rand(K, D, device="cuda") * 4 - 6,
        )
        index = route_table(self.routes, self.height, self.width, "cuda") if self.routes else None
        return tensors | dict(args=ScanArgs(index, True, True, dtype))

    def bytes(self, dtype=torch.bfloat16) -> tuple[int, int]:
        """Forward and backward with every tensor read or written once."""
        size = torch.empty(0, dtype=dtype).element_size() * self.batch * self.height * self.width
        D, KD, KN = self.channels, self.K * self.channels, self.K * self.d_state
        return size * (2 * D + KD + 2 * KN), size * (3 * D + 2 * KD + 4 * KN)


CASES = (
    Case("256 px, N 1, K 1", 128, 56, 56, 384, 1),
    Case("same, K 4 in place", 128, 56, 56, 96, 1, CROSS),
    Case("long, N 16", 2, 200, 336, 384, 16),
    Case("windows 14x14, N 8", 2048, 14, 14, 160, 8),
    Case("windows 7x7, N 8", 1536, 7, 7, 320, 8),
    Case("VMamba-T stage 1", 2, 200, 336, 96, 1, CROSS),
    Case("VMamba-T stage 2", 2, 100, 168, 192, 1, CROSS),
    Case("VMamba-T stage 3", 2, 50, 84, 384, 1, CROSS),
    Case("VMamba-T stage 4", 2, 25, 42, 768, 1, CROSS),
)


def ours(case: Case, x: dict):
    """Forward and backward as functions of nothing."""
    tensors = [x[name] for name in ("u", "delta", "A", "B", "C", "D", "bias")]
    _, states = backend.forward(*tensors, x["args"], True)
    return (
        lambda: backend.forward(*tensors, x["args"], False),
        lambda: backend.backward(x["dy"], states, *tensors, x["args"]),
    )


def peer(case: Case, x: dict):
    """The same of mamba-ssm."""
    import selective_scan_cuda

    K = case.K
    maps = (x[name].expand(-1, -1, K, -1) for name in ("u", "dy", "delta"))
    u, dy, delta = (t.flatten(2).transpose(1, 2).contiguous() for t in maps)
    B, C = (x[name].permute(0, 2, 3, 1).contiguous() for name in ("B", "C"))
    tensors = (u, delta, x["A"].flatten(0, 1), B, C, x["D"].flatten(), None, x["bias"].flatten())
    states = selective_scan_cuda.fwd(*tensors, True)[1]
    return (
        lambda: selective_scan_cuda.fwd(*tensors, True),
        lambda: selective_scan_cuda.bwd(*tensors, dy, states, None, None, True, False),
    )


def milliseconds(pair) -> list[float]:
    return [median_ms(f, warmup=20, rep=80) for f in pair]


def relative_errors(case: Case, dtype, shared: bool, merge: bool) -> dict[str, float]:
    """Output and gradients against the loop in float64, as a share of the largest value."""
    x = case.inputs(dtype)
    u = x["u"].expand(-1, -1, case.K, -1).contiguous() if not shared else x["u"].squeeze(2)
    inputs = dict(
        u=u, delta=x["delta"], A=x["A"], B=x["B"], C=x["C"], D=x["D"], delta_bias=x["bias"]
    )
    index = x["args"].index_KT
    results = []
    for name, cast in (("naive", torch.float64), ("triton", None), ("triton", None)):
        leaves = {k: v.detach().to(cast or v.dtype).requires_grad_() for k, v in inputs.items()}
        y = selective_scan(**leaves, index=index, delta_softplus=True, merge=merge, backend=name)
        weight = torch.randn(
            y.shape, generator=torch.Generator("cuda").manual_seed(1), device="cuda"
        )
        (y * weight.to(dtype).to(y.dtype)).sum().backward()
        results.append({"y": y.detach()} | {k: v.grad for k, v in leaves.items()})
    want, got, again = results
    for k, v in got.items():
        assert torch.equal(v, again[k]), f"{k} differs between two runs"
    return {
        k: float((got[k].double() - v).abs().max() / v.abs().max().clamp(min=1e-30))
        for k, v in want.items()
    }


def set_warps(warps: float) -> None:
    """Routes are cut into chunks where there are fewer on each multiprocessor.

    Into as many as make that.
    """
    triton_choice.FULL, triton_choice.WANTED = warps, max(1, round(warps))


def check(job) -> tuple[str, float, str]:
    size, d_state, channels, routes, dtype, shared, merge, warps = job
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    set_warps(warps)
    label = (
        f"{size} N {d_state} D {channels} K {len(routes)} {str(dtype)[6:]} {shared=} {merge=} "
        f"{warps=}"
    )
    try:
        errors = relative_errors(
            Case("", 2, *size, channels, d_state, routes), dtype, shared, merge
        )
    # A tiling that does not compile or run is told in its row.
    except Exception as error:  # noqa: BLE001
        return label, float("nan"), f"{type(error).__name__}: {str(error)[:600]}"
    worst = max(errors, key=lambda k: errors[k] if errors[k] == errors[k] else float("inf"))
    return label, errors[worst], worst


def checks() -> list:
    sizes = ((1, 1), (7, 7), (5, 13), (11, 29), (25, 42))
    jobs = [(size, N, 40, CROSS, torch.float32, True, True, 8) for size in sizes for N in (1, 4)]
    jobs += [
        ((13, 17), N, 64, CROSS, torch.float32, True, True, warps)
        for N in (1, 8, 16, 64)
        for warps in (0.01, 100)
    ]
    jobs += [
        ((13, 17), 2, 64, CROSS, dtype, shared, merge, 8)
        for dtype in (torch.bfloat16, torch.float16)
        for shared in (True, False)
        for merge in (True, False)
    ]
    jobs += [((9, 31), 1, 96, (), torch.bfloat16, True, True, warps) for warps in (0.01, 100)]
    return jobs


def tolerance(label: str) -> float:
    return 3e-2 if "bfloat16" in label else 6e-3 if "float16" in label else 5e-5


def set_tiling(
    steps: int, forward: tuple[int, ...], backward: tuple[int, ...], warps: float
) -> None:
    """One tiling for all; at least `warps` on each multiprocessor."""
    set_warps(warps)
    tiling = triton_choice.Tiling(
        steps, triton_choice.Config(*forward), triton_choice.Config(*backward)
    )
    for name in ("ONE_STATE", "FEW_STATES", "MANY_STATES"):
        setattr(triton_choice, name, tiling)


def warm(job) -> str:
    """Compiles one tiling's kernels into Triton's cache."""
    case, tiling = job
    started = time.time()
    try:
        for warps in (0.001, 1e6):
            set_tiling(*tiling, warps)
            for f in ours(case, case.inputs()):
                f()
        torch.cuda.synchronize()
    except Exception as error:  # noqa: BLE001
        return f"{case.name} {tiling}: {type(error).__name__}: {str(error)[:300]}"
    about = f"{case.channels} channels, N {case.d_state}, K {case.K}, {tiling}"
    return f"compiled {about} in {time.time() - started:.0f} s"


def parse_tilings(text: str) -> list[tuple]:
    """Tilings as `--sweep` names them."""
    tilings = []
    for one in text.split():
        steps, *configs = one.split(":")
        tilings.append((int(steps), *(tuple(map(int, c.split(","))) for c in configs)))
    return tilings


def report_checks(results: list[tuple[str, float, str]]) -> int:
    """Print what failed; how many."""
    failed = 0
    for label, error, worst in results:
        good = error <= tolerance(label)
        failed += not good
        if not good or len(results) < 12:
            print(f"{'ok' if good else 'FAILED'} {label}: {error:.1e} ({worst})")
    largest = max((error for label, error, _ in results if "float32" in label), default=0)
    print(
        f"checked {len(results)} cases against naive in float64, {failed} failed; worst float32 "
        f"error {largest:.1e}",
        flush=True,
    )
    return failed


def measure(case: Case, tilings: list, warps_of_sweep: list[float], rate: float) -> list[dict]:
    """A row for each tiling, or one for the chosen ones."""
    x = case.inputs()
    bound = [b / rate for b in case.bytes()]
    has_peer = importlib.util.find_spec("selective_scan_cuda") is not None
    theirs = milliseconds(peer(case, x)) if has_peer else [NAN, NAN]
    known: dict[str, Any] = dict(
        case=case.name,
        batch=case.batch,
        channels=case.channels,
        routes=case.K,
        steps=case.height * case.width,
        states=case.d_state,
        bound_forward=bound[0],
        bound_backward=bound[1],
        peer_forward=theirs[0],
        peer_backward=theirs[1],
    )
    rows = []
    for tiling in tilings or [None]:
        for warps in warps_of_sweep if tiling else [triton_choice.FULL]:
            if tiling:
                set_tiling(*tiling, warps)
            forward, backward = milliseconds(ours(case, x))
            rows.append(
                dict(
                    known,
                    tiling=str(tiling or "chosen"),
                    warps=warps,
                    forward=forward,
                    backward=backward,
                )
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--check", action="store_true")
    arguments.add_argument(
        "--sweep",
        help="tilings STEPS:WARPS,VECTOR[,REGISTERS]:WARPS,VECTOR[,REGISTERS], "
        "first forward, then backward",
    )
    arguments.add_argument(
        "--warps", default="16", help="for --sweep: warps on each multiprocessor, commas between"
    )
    arguments.add_argument("--jobs", type=int, default=12)
    options = arguments.parse_args()
    pool = multiprocessing.get_context("spawn").Pool(options.jobs)
    tilings = parse_tilings(options.sweep or "")
    if tilings:
        small = (
            Case("", 2, 16, 24, 384, 1),
            Case("", 2, 16, 24, 384, 8),
            Case("", 2, 16, 24, 384, 1, CROSS),
            Case("", 2, 16, 24, 160, 8),
        )
        warming = pool.map_async(warm, list(itertools.product(small, tilings)), chunksize=1)
    failed = report_checks(pool.map(check, checks(), chunksize=1)) if options.check else 0
    if tilings:
        for line in warming.get():
            print(line)
    pool.close()
    pool.join()
    rate = copy_speed(2**29)
    table = Table(
        "scan",
        f"bfloat16, milliseconds, copies at {rate / 1e9:.2f} TB/s",
        Column("case", "case"),
        Column("tiling", "tiling"),
        Column("warps", "warps", "g"),
        Column("forward: bound", "bound_forward", ".3f"),
        Column("mamba-ssm", "peer_forward", ".3f"),
        Column("ours", "forward", ".3f"),
        Column("backward: bound", "bound_backward", ".3f"),
        Column("mamba-ssm", "peer_backward", ".3f"),
        Column("ours", "backward", ".3f"),
    )
    for case in CASES:
        for row in measure(case, tilings, list(map(float, options.warps.split(","))), rate):
            table.add(**row)
    # Rows are printed as they come; the table wants one more package.
    if importlib.util.find_spec("rich"):
        table.show(width=150)
    save(options.out, table, bytes_per_ms=rate)
    if failed:
        raise SystemExit(f"{failed} checks failed")


if __name__ == "__main__":
    main()
