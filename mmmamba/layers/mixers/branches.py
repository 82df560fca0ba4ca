"""S6 branches side by side, each with a convolution, projections, A and D of its own.

The base of Vim's kind of mixers. Shape suffixes: B batch, L tokens, K branches, C width, D inner
width, N states, R dt rank.
"""

from collections.abc import Sequence
from operator import attrgetter

import torch
from torch import Tensor, nn

from .s6 import S6, dt_projection, resolve_dt_rank, s4d_real


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
        # Not `get_parameter`, which refuses a cast that stands in a parameter's place for a pass.
        return [attrgetter(pattern.format(suffix))(self) for suffix in self.suffixes]

    def s6(self) -> S6:
        """The parameters of the scans."""
        # The scan takes one tensor of all branches; stacked in each pass, so that gradients find
        # the parameters under their own names.
        return S6(
            torch.stack(self.each("x_proj{}.weight")),
            torch.stack(self.each("dt_proj{}.weight")),
            torch.stack(self.each("dt_proj{}.bias")),
            torch.stack(self.each(self.a_name)),
            torch.stack(self.each("D{}")),
        )

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
