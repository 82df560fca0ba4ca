"""The depthwise 3x3 convolution with SiLU beside PyTorch's on a GPU, bfloat16, channels-last.

    python benchmarks/depthwise_conv_gpu.py

First every case is checked: outputs and gradients at most 1.1 times as far from PyTorch's in
float32 as PyTorch's in bfloat16 are. "bound": x read and y written once forward; in the backward
pass x and the gradient read and x's gradient written once; at 4.2 TB/s. "a new size": seconds of
the first forward and backward pass of a map of a size that the process has not seen, mean and
longest of five, after other sizes have gone through.
"""

import sys
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from common import Column, Table, median_ms, now, parser, save
from torch import Tensor

from mmmamba.ops import depthwise_conv

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
    return depthwise_conv(x, weight, act="silu")


def pytorch(x: Tensor, weight: Tensor) -> Tensor:
    return F.silu(F.conv2d(x, weight, padding=1, groups=len(weight)))


def make(shape: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Leaves x and weight, and a gradient of the output."""
    torch.manual_seed(0)
    x = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    grad = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    x, grad = (t.to(memory_format=torch.channels_last) for t in (x, grad))
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
    mine, theirs = train(ours, *given), train(pytorch, *given)
    names = ("output", "gradient of x", "gradient of weight")
    for name, exact, our, their in zip(names, want, mine, theirs):
        far, allowed = (
            float((t.float() - exact).abs().max() / exact.abs().max()) for t in (our, their)
        )
        if not far <= 1.1 * allowed + 1e-3:
            sys.exit(f"{shape}: the {name} is {far:.1e} off, PyTorch's {allowed:.1e}")


def measure(
    function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]
) -> tuple[float, float]:
    """Milliseconds of the forward pass without gradients, and of both passes."""
    given = make(shape)

    def forward():
        with torch.no_grad():
            function(*given[:2])

    both = partial(train, function, *given)
    return median_ms(forward, warmup=20, rep=100), median_ms(both, warmup=20, rep=100)


def first_seconds(function: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> float:
    given = make(shape)
    start = now()
    train(function, *given)
    return now() - start


def main() -> None:
    args = parser(__doc__).parse_args()
    torch.backends.cudnn.allow_tf32 = False
    for shape in SHAPES:
        check(shape)
    table = Table(
        "times",
        "bfloat16, milliseconds; all checked",
        Column("map", "shape"),
        Column("forward: PyTorch", "forward_torch", ".3f"),
        Column("ours", "forward", ".3f"),
        Column("bound", "forward_bound", ".3f"),
        Column("both passes: PyTorch", "both_torch", ".3f"),
        Column("ours", "both", ".3f"),
        Column("bound", "both_bound", ".3f"),
    )
    for shape in SHAPES:
        theirs, mine = measure(pytorch, shape), measure(ours, shape)
        once = 2 * torch.Size(shape).numel() / BYTES_PER_MS
        table.add(
            shape=shape,
            forward_torch=theirs[0],
            forward=mine[0],
            forward_bound=2 * once,
            both_torch=theirs[1],
            both=mine[1],
            both_bound=5 * once,
        )
    sizes = Table(
        "a_new_size",
        "the first pass over a new size, seconds",
        Column("convolution", "name"),
        Column("mean", "mean", ".4f"),
        Column("longest", "longest", ".4f"),
    )
    for name, function in (("PyTorch", pytorch), ("ours", ours)):
        seconds = [first_seconds(function, shape) for shape in NEW_SIZES]
        sizes.add(name=name, mean=sum(seconds) / len(seconds), longest=max(seconds))
    sizes.show()
    table.show()
    save(args.out, table, sizes)


if __name__ == "__main__":
    main()
