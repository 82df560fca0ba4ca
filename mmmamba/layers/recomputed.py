"""Computing what is inside a module again in the backward pass instead of keeping it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from mmmamba.ops import sparing_memory


def recomputed(module: nn.Module, *inputs: Any) -> Any:
    """`module(*inputs)`, keeping the inputs alone.

    Random numbers are drawn again alike, and the running statistics of batch norms move once.
    """
    if torch.compiler.is_compiling():
        # A compiler runs the module once and takes what it wrote to buffers from there.
        return checkpoint(module, *inputs, use_reentrant=False)
    # Only those that would take the same batch in a second time.
    norms = [
        m
        for m in module.modules()
        if isinstance(m, _BatchNorm) and m.training and m.track_running_stats
    ]
    # Contexts of the first pass and of the second. The graph whose backward runs is the first's,
    # which notes there how much memory to spare; the second only makes again what it did not keep.
    return checkpoint(
        module, *inputs, use_reentrant=False, context_fn=lambda: (sparing_memory(), _still(norms))
    )


@contextmanager
def _still(norms: list[_BatchNorm]) -> Iterator[None]:
    """Running means and variances take nothing in, and no batch is counted."""
    # Not `eval()`: the second pass has to normalise by the batch's statistics as the first did.
    # With momentum 0 running values are written back unchanged, and without a counter PyTorch
    # counts nothing.
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, counted) in zip(norms, kept):
            norm.momentum, norm.num_batches_tracked = momentum, counted
