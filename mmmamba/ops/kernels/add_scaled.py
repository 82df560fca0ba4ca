"""The kernel of `add_scaled` and of its gradient: a program for some elements of one image."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ..launch import Launch, Plans, ceil_div

BLOCK = 2048
_PLANS = Plans()


def forward(x: Tensor, branch: Tensor, factor_B: Tensor) -> Tensor:
    """`x + branch * factor`, of maps that lie alike in memory, image after image without gaps."""
    out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, branch.dtype))
    _run(x, branch, factor_B, out)
    return out


def backward(grad: Tensor, factor_B: Tensor, dtype: torch.dtype) -> Tensor:
    """The branch's gradient: that of the sum in the branch's dtype, times the factor."""
    dbranch = torch.empty_like(grad, dtype=dtype)
    _run(None, grad, factor_B, dbranch)
    return dbranch


def _run(x: Tensor | None, branch: Tensor, factor_B: Tensor, out: Tensor) -> None:
    if not out.numel():
        return
    each = branch.numel() // len(branch)
    kinds = None if x is None else x.dtype, branch.dtype, factor_B.dtype, out.dtype
    key = (len(branch), each, out.device, kinds)
    launch = _PLANS.get(key)
    if launch is None:
        # Counted in vectors, so that the compiler sees where they begin.
        vector = 8 if each % 8 == 0 else 1
        launch = Launch(
            add_scaled_kernel,
            out.device,
            len(branch) * ceil_div(each, BLOCK),
            dict(vectors=each // vector),
            HAS_X=x is not None,
            VECTOR=vector,
            BLOCK=BLOCK,
            num_warps=8,
            # One operation in half precision would round once.
            enable_fp_fusion=False,
        )
        _PLANS.keep(key, launch)
    launch(out, x, branch, factor_B)


@triton.jit(do_not_specialize=["vectors"])
def add_scaled_kernel(
    out,
    x,
    branch,
    factor,
    vectors,
    HAS_X: tl.constexpr,
    VECTOR: tl.constexpr,
    BLOCK: tl.constexpr,
):
    each = vectors * VECTOR
    blocks = tl.cdiv(each, BLOCK)
    image = tl.program_id(0) // blocks
    at = tl.program_id(0) % blocks * BLOCK + tl.arange(0, BLOCK)
    there = at < each
    # In 64 bits: a batch may have more than 2**31 elements.
    base = image.to(tl.int64) * vectors * VECTOR
    # Both are rounded where PyTorch's operators, one after the other, would round.
    given = tl.load(branch + base + at, mask=there, other=0.0)
    dtype: tl.constexpr = branch.dtype.element_ty if HAS_X else out.dtype.element_ty
    product = given.to(dtype).to(tl.float32) * tl.load(factor + image).to(tl.float32)
    if HAS_X:
        product = product.to(dtype).to(tl.float32)
        product += tl.load(x + base + at, mask=there, other=0.0).to(tl.float32)
    tl.store(out + base + at, product.to(out.dtype.element_ty), mask=there)
