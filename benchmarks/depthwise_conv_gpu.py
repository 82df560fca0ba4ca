"""Times the depthwise 3x3 convolution with SiLU on a CUDA device beside PyTorch's, bfloat16, channels-last.

    python benchmarks/depthwise_conv_gpu.py

First every case is checked: outputs and gradients at most 1.1 times as far from PyTorch's in float32 as PyTorch's in
bfloat16 are. "bound": x read and y written once forward; in the backward pass x and the gradient read and x's gradient
written once; at 4.2 TB/s. "a new size": seconds of the first forward and backward pass of a map of a size that the
process has not seen, mean and longest of five, after other sizes have gone through.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))
from mmmamba.ops import depthwise_conv  # noqa: F401

SHAPES = [
    (2, 96, 200, 336),
    (8, 96, 200, 336),
    (8, 192, 100, 168),
    (8, 384, 50, 84),
    (8, 768, 25, 42),
    (128, 96, 56, 56),
]
NEW_SIZES = [
    (2, 96, 192, 304),
    (2, 96, 200, 296),
    (2, 96, 184, 320),
    (2, 96, 176, 328),
    (2, 96, 168, 312),
]
BYTES_PER_MS = 4.2e9


def ours(x: Tensor, weight: Tensor) -> Tensor:
    return depthwise_conv(x, weight, silu=True)


def pytorch(x: Tensor, weight: Tensor) -> Tensor:
    return F.silu(F.conv2d(x, weight, padding=1, groups=len(weight)))


def make(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Leaves x and weight, and a gradient of the output."""
    torch.manual_seed(0)
    x, grad = (
        torch.randn(shape, device="cuda", dtype=torch.bfloat16).to(
            memory_format=torch.channels_last
        )
        for _ in range(2)
    )
    weight = torch.randn(shape[1], 1, 3, 3, device="cuda", dtype=torch.bfloat16) / 3
    return x.requires_grad_(), weight.requires_grad_(), grad


def train(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor, grad: Tensor
) -> list[Tensor]:
    y = function(x, weight)
    return [y.detach(), *torch.autograd.grad(y, (x, weight), grad)]


def check(shape: tuple[int, ...]) -> None:
    """Against PyTorch's in float32.

    Raises:
        SystemExit: ours are farther off than PyTorch's in bfloat16.
    """
    given = make(shape)
    want = train(pytorch, *(t.detach().float().requires_grad_() for t in given))
    results = [train(function, *given) for function in (ours, pytorch)]
    for name, exact, mine, theirs in zip(
        ("output", "gradient of x", "gradient of weight"), want, *results
    ):
        far, allowed = (
            float((t.float() - exact).abs().max() / exact.abs().max()) for t in (mine, theirs)
        )
        if not far <= 1.1 * allowed + 1e-3:
            sys.exit(f"{shape}: the {name} is {far:.1e} off, PyTorch's {allowed:.1e}")


def measure(
    function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> tuple[float, float]:
    """Milliseconds of the forward pass without gradients, and of both passes."""
    from triton.testing import do_bench

    given = make(shape)

    def forward():
        with torch.no_grad():
            function(*given[:2])

    return tuple(
        do_bench(run, warmup=20, rep=100, return_mode="median")
        for run in (forward, lambda: train(function, *given))
    )


def first_seconds(function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> float:
    given = make(shape)
    torch.cuda.synchronize()
    start = time.perf_counter()
    train(function, *given)
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.backends.cudnn.allow_tf32 = False
    for shape in SHAPES:
        check(shape)
    table = Table(
        "map",
        "forward ms: PyTorch",
        "ours",
        "bound",
        "both passes ms: PyTorch",
        "ours",
        "bound",
        title=f"{torch.cuda.get_device_name()}, torch {torch.__version__}, bfloat16; all checked",
    )
    for shape in SHAPES:
        theirs, mine = measure(pytorch, shape), measure(ours, shape)
        once = 2 * torch.Size(shape).numel() / BYTES_PER_MS
        table.add_row(
            " x ".join(map(str, shape)),
            f"{theirs[0]:.3f}",
            f"{mine[0]:.3f}",
            f"{2 * once:.3f}",
            f"{theirs[1]:.3f}",
            f"{mine[1]:.3f}",
            f"{5 * once:.3f}",
        )
    sizes = Table("a new size", "mean s", "longest s")
    for name, function in (("PyTorch", pytorch), ("ours", ours)):
        seconds = [first_seconds(function, shape) for shape in NEW_SIZES]
        sizes.add_row(name, f"{sum(seconds) / len(seconds):.4f}", f"{max(seconds):.4f}")
    for found in (sizes, table):
        Console(width=120).print(found)


if __name__ == "__main__":
    main()
