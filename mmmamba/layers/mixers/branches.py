"""S6 branches side by side, each with a convolution, projections, A and D of its own.

The base of Vim's kind of mixers. Shape suffixes: B batch, L tokens, K branches, C width, D inner
width, N states, R dt rank.
"""

from collections.abc import Callable, Sequence
from functools import cache
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import torch
from torch import Tensor, nn

from mmmamba.ops.derivatives import watched

from .s6 import S6, dt_projection, resolve_dt_rank, s4d_real


@cache
def _getter(pattern: str, suffixes: tuple[str, ...]) -> Callable[[nn.Module], Sequence[Tensor]]:
    """What gets a parameter of every branch: `get_parameter` takes longer than a kernel."""
    get: Callable[[nn.Module], Any] = attrgetter(*[pattern.format(suffix) for suffix in suffixes])
    # Of one name `attrgetter` returns what it names, not a tuple.
    return get if len(suffixes) > 1 else lambda module: (get(module),)


def stacked(groups: Sequence[Sequence[Tensor]]) -> Sequence[Tensor]:
    """`torch.stack` of each group, all as one step of autograd."""
    if watched() or not torch.is_grad_enabled():
        return [torch.stack(tuple(group)) for group in groups]
    return _Stacked.apply([len(group) for group in groups], *chain.from_iterable(groups))


class _Stacked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, lengths, *tensors):
        ctx.lengths = lengths
        ctx.set_materialize_grads(False)
        remaining = iter(tensors)
        return tuple(torch.stack(tuple(islice(remaining, length))) for length in lengths)

    @staticmethod
    def backward(ctx, *grads):
        found = [None]
        for length, grad in zip(ctx.lengths, grads):
            found += [None] * length if grad is None else grad.unbind()
        return tuple(found)


class ScanBranches(nn.Module):
    """K branches between one projection in, to twice the inner width, and one out.

    Args:
        dim: width C.
        suffixes: what the names of each branch's parameters end in: `x_proj{suffix}`, …
        a_name: pattern of A's name.
        d_state, ssm_ratio: N and D / C.
        d_conv: taps of the causal convolution.
        dt_rank: R ("auto": ceil(C / 16)).
    """

    def __init__(
        self,
        dim: int,
        suffixes: Sequence[str],
        a_name: str = "A_log{}",
        d_state: int = 16,
        ssm_ratio: float = 2.0,
        d_conv: int = 4,
        dt_rank: int | str = "auto",
    ):
        super().__init__()
        D, R = int(dim * ssm_ratio), resolve_dt_rank(dt_rank, dim)
        self.suffixes = tuple(suffixes)
        self.a_name = a_name
        self.in_proj = nn.Linear(dim, 2 * D, bias=False)
        # Branch by branch under the authors' names, which cannot be one stacked parameter.
        for suffix in self.suffixes:
            self.add_module(f"conv1d{suffix}", nn.Conv1d(D, D, d_conv, groups=D))
            self.add_module(f"x_proj{suffix}", nn.Linear(D, R + 2 * d_state, bias=False))
            self.add_module(f"dt_proj{suffix}", dt_projection(R, D))
            A_log_DN = nn.Parameter(s4d_real(D, d_state=d_state))
            self.register_parameter(a_name.format(suffix), A_log_DN)
            self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(D)))
        self.out_proj = nn.Linear(D, dim, bias=False)

    def each(self, pattern: str) -> list[Tensor]:
        """A parameter of every branch: `each("x_proj{}.weight")`."""
        if torch.compiler.is_compiling():
            # A compiler looks through no cache, and needs none.
            return [attrgetter(pattern.format(suffix))(self) for suffix in self.suffixes]
        return list(_getter(pattern, self.suffixes)(self))

    def s6(self) -> S6:
        """The parameters of the scans."""
        # The scan takes one tensor of all branches; stacked in each pass, so that gradients find
        # the parameters under their own names.
        patterns = ("x_proj{}.weight", "dt_proj{}.weight", "dt_proj{}.bias", self.a_name, "D{}")
        return S6(*stacked([self.each(pattern) for pattern in patterns]))

    def scan(
        self,
        u_BLKD: Tensor,
        index: Tensor | None = None,
        index_complete: bool = False,
        merge: bool = True,
    ) -> Tensor:
        """The branches' scans of their own inputs, `(B, L, D)` merged by sum or `(B, L, K, D)`.

        In the dtype of `s6.output_dtype`.
        """
        s6 = self.s6()
        return s6.scan(u_BLKD, s6.project_each(u_BLKD), index, index_complete, merge)
