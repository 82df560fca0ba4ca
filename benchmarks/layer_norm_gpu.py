"""`layer_norm` beside PyTorch's on a GPU, under bfloat16 autocast, as a linear layer wants it.

    python benchmarks/layer_norm_gpu.py

First every case is checked against float64. PyTorch's side is `F.layer_norm` and the linear layer's
cast; with a sum before it, the addition too. Backward is from the gradient in bfloat16 (and the
residual stream's in float32) to those of all inputs. Times are a caller's: on small maps that of
launching from Python, which is why these take PyTorch's norm by default. "bound": every tensor read
or written once at the speed at which this card copies.
"""

import sys

import torch
from common import Column, Table, copy_speed, median_ms, parser, save

from mmmamba.ops import add_layer_norm, layer_norm

FLOAT, HALF = torch.float32, torch.bfloat16
MAPS = {96: (8, 200, 336), 192: (8, 100, 168), 384: (8, 50, 84), 768: (8, 25, 42)}
KINDS = {"float32": (FLOAT, None), "bfloat16": (HALF, None), "float32 + bfloat16": (FLOAT, HALF)}
"""The stream into a block's first norm, a scan's output, the stream and a branch."""
CASES = [(kind, width) for width in MAPS for kind in KINDS]


def make(kind: str, width: int) -> tuple[list, list]:
    """Leaves (x, branch or None, weight, bias), and gradients of the outputs."""
    torch.manual_seed(0)
    shape = (*MAPS[width], width)
    x, branch, grad_y, grad_sum = (torch.randn(shape, device="cuda") for _ in range(4))
    dtype, branch_dtype = KINDS[kind]
    leaves = [
        x.to(dtype),
        None if branch_dtype is None else branch.to(branch_dtype),
        torch.randn(width, device="cuda"),
        torch.randn(width, device="cuda"),
    ]
    grads = [grad_y.to(HALF)] + ([] if branch_dtype is None else [grad_sum])
    return [None if t is None else t.requires_grad_() for t in leaves], grads


def run(leaves: list, backend: str) -> tuple:
    x, branch, weight, bias = leaves
    with torch.autocast("cuda", HALF):
        if branch is None:
            outputs = (layer_norm(x, weight, bias, feeds_linear=True, backend=backend),)
        else:
            outputs = add_layer_norm(x, branch, weight, bias, feeds_linear=True, backend=backend)
    return outputs[0].to(HALF if x.dtype != torch.float64 else x.dtype), *outputs[1:]


def gradients(outputs: tuple, leaves: list, grads: list) -> tuple:
    wanted = [t for t in leaves if t is not None]
    return torch.autograd.grad(
        outputs, wanted, [g.to(y.dtype) for g, y in zip(grads, outputs)], retain_graph=True
    )


def check(kind: str, width: int) -> None:
    """Outputs and gradients within 1.05 times the distance of PyTorch's from float64.

    Or within float32's rounding.

    Raises:
        SystemExit: they are farther off.
    """
    leaves, grads = make(kind, width)
    exact = [None if t is None else t.detach().double().requires_grad_() for t in leaves]
    results = []
    for tensors, backend in ((exact, "torch"), (leaves, "torch"), (leaves, "triton")):
        outputs = run(tensors, backend)
        results.append([t.detach() for t in (*outputs, *gradients(outputs, tensors, grads))])
    for n, (want, theirs, ours) in enumerate(zip(*results, strict=True)):
        scale = want.abs().max()
        far, allowed = (float((t.double() - want).abs().max() / scale) for t in (ours, theirs))
        if far > 1.05 * allowed + 2e-6:
            sys.exit(f"{kind}, width {width}: result {n} is {far:.1e} off, PyTorch's {allowed:.1e}")


def bytes_moved(kind: str, width: int) -> tuple[int, int]:
    """Forward and backward, each tensor once."""
    elements = width * torch.Size(MAPS[width]).numel()
    x, branch = (0 if dtype is None else dtype.itemsize for dtype in KINDS[kind])
    total = max(x, branch) if branch else 0
    return elements * (x + branch + total + 2), elements * (2 + x + total + x + branch)


def measure(kind: str, width: int, backend: str) -> tuple[float, float]:
    """Milliseconds forward and backward."""
    leaves, grads = make(kind, width)
    outputs = run(leaves, backend)

    def forward() -> tuple:
        return run(leaves, backend)

    def backward() -> tuple:
        return gradients(outputs, leaves, grads)

    return median_ms(forward, warmup=10, rep=50), median_ms(backward, warmup=10, rep=50)


def main() -> None:
    args = parser(__doc__).parse_args()
    for case in CASES:
        check(*case)
    speed = copy_speed()
    table = Table(
        "times",
        f"milliseconds, copies at {speed / 1e9:.2f} TB/s; all checked",
        Column("map", "shape"),
        Column("input", "input"),
        Column("forward: torch", "forward_torch", ".3f"),
        Column("ours", "forward", ".3f"),
        Column("bound", "forward_bound", ".3f"),
        Column("backward: torch", "backward_torch", ".3f"),
        Column("ours", "backward", ".3f"),
        Column("bound", "backward_bound", ".3f"),
    )
    for kind, width in CASES:
        theirs, ours = measure(kind, width, "torch"), measure(kind, width, "triton")
        bound = [b / speed for b in bytes_moved(kind, width)]
        table.add(
            shape=(*MAPS[width], width),
            input=kind,
            forward_torch=theirs[0],
            forward=ours[0],
            forward_bound=bound[0],
            backward_torch=theirs[1],
            backward=ours[1],
            backward_bound=bound[1],
        )
    table.show(width=130)
    save(args.out, table, bytes_per_ms=speed)


if __name__ == "__main__":
    main()
