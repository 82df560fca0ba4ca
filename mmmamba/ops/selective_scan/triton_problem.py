"""A scan's tensors as the Triton kernels want them, and route tables known to be complete."""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import Tensor

from ..launch import DTYPES
from .common import ScanArgs
from .triton_choice import Sizes, Tile, choices, row_strides


class Problem(NamedTuple):
    """A scan's tensors: maps whose last dimension is contiguous, parameters in float32.

    A is handed over as `(K, N, D)`, because a program reads one state of neighbouring channels.
    """

    u: Tensor
    delta: Tensor
    A_KND: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    bias: Tensor | None
    table: Tensor | None
    sizes: Sizes
    softplus: bool
    complete: bool
    """Every route visits every position once, so that there are no holes and nothing to clear."""
    carried: bool
    """As `ScanArgs` has it."""

    def programs(self, tile: Tile, chunks: int, routes: int) -> int:
        """How many walk so many routes: one for each chunk and block of channels."""
        sizes = self.sizes
        return sizes.batch * routes * chunks * tile.blocks(sizes.channels)

    def constants(self, tile: Tile) -> dict[str, int]:
        """What the kernels are compiled for, with the compiler's own options."""
        sizes = self.sizes
        constants = dict(
            TT=tile.steps,
            W=tile.warps,
            DB=tile.block,
            V=tile.vector,
            num_warps=tile.warps,
            SINGLE=sizes.d_state == 1,
            SOFTPLUS=self.softplus,
            HAS_BIAS=self.bias is not None,
            HAS_INDEX=self.table is not None,
            HOLES=not self.complete,
            CARRIED=self.carried,
            EVEN=sizes.channels % tile.block == 0,
        )
        return constants if tile.registers is None else constants | dict(maxnreg=tile.registers)

    def key(self) -> tuple:
        """All that launches are worked out from, but where the tensors lie."""
        u, delta, _, B, C, D, bias, table, sizes, softplus, complete, carried = self
        return (
            sizes,
            u.device,
            u.shape[2],
            *layout(u),
            *layout(delta),
            B.stride(),
            B.dtype,
            C.stride(),
            C.dtype,
            D is None,
            bias is None,
            None if table is None else table.dtype,
            softplus,
            complete,
            carried,
            choices(sizes.d_state),
        )


def layout(x: Tensor) -> tuple:
    """What a kernel's access to a map depends on besides its sizes."""
    return x.stride(), x.dtype, x.data_ptr() & 15


def make_problem(u, delta, A, B, C, D, bias, args: ScanArgs) -> Problem:
    """The operator's inputs, copied only where the kernels could not read them.

    Raises:
        TypeError: a dtype that the kernels do not know.
        IndexError: a route that leaves the map.
    """
    for x in (u, delta, A, B, C):
        if x.dtype not in DTYPES:
            _refuse(u=u, delta=delta, A=A, B=B, C=C)
    index = args.index_KT
    batch, length, routes, channels = delta.shape
    d_state = A.shape[2]
    return Problem(
        contiguous_rows(u),
        contiguous_rows(delta),
        _parameter(A if d_state == 1 else A.transpose(1, 2)),
        contiguous_rows(B),
        contiguous_rows(C),
        None if D is None else _parameter(D),
        None if bias is None else _parameter(bias),
        None if index is None else index.contiguous(),
        Sizes(
            batch, length, routes, channels, d_state, length if index is None else index.shape[1]
        ),
        args.delta_softplus,
        index is None or args.index_complete or _complete(index, length),
        args.carried,
    )


def _refuse(**tensors: Tensor) -> None:
    for name, x in tensors.items():
        if x.dtype not in DTYPES:
            raise TypeError(
                f"selective_scan backend 'triton': {name} is {x.dtype}, wanted float32, float16 or "
                "bfloat16; float64 runs with backend='naive' or 'torch'"
            )


def _parameter(x: Tensor) -> Tensor:
    """x in float32 and without gaps."""
    # A single state's A is the same memory in either order, so that there is nothing to transpose.
    return x if x.dtype == torch.float32 and x.is_contiguous() else x.float().contiguous()


def contiguous_rows(x: Tensor) -> Tensor:
    """x with neighbouring channels, and positions less than 2 GiB apart, as the kernels take it."""
    # The limit is that of `triton_tiles.entries`, which has strides in bytes, in 32 bits.
    whole = x.stride(-1) == 1 or x.shape[-1] == 1
    return x if whole and x.stride(1) * x.element_size() < 2**31 else x.contiguous()


def named_strides(**maps: Tensor) -> dict[str, int]:
    """`x_b`, `x_l` and `x_k` for each map x: its strides, as the kernels name them."""
    named = {}
    for name, x in maps.items():
        named[f"{name}_b"], named[f"{name}_l"], named[f"{name}_k"] = row_strides(x)
    return named


_TABLES: OrderedDict[tuple, tuple[Tensor, bool]] = OrderedDict()
_TABLES_KEPT = 256


def _complete(index_KT: Tensor, length: int) -> bool:
    """Whether every route visits every position once: then outputs need no zeros underneath.

    Asking the GPU waits for it, so answers are kept, each with its table, whose memory thus stays
    its own.

    Raises:
        IndexError: a position outside the map.
    """
    # Part of the key, as a table may be written to; inference tensors refuse to tell theirs.
    version = 0 if index_KT.is_inference() else index_KT._version
    key = (
        index_KT.data_ptr(),
        index_KT.shape,
        index_KT.stride(),
        index_KT.dtype,
        index_KT.device,
        length,
        version,
    )
    if key in _TABLES:
        _TABLES.move_to_end(key)
        return _TABLES[key][1]
    if index_KT.is_cuda and torch.cuda.is_current_stream_capturing():
        # A graph that is being captured cannot wait; holes are the general case.
        return False
    complete = _looks_complete(index_KT, length)
    _TABLES[key] = (index_KT, complete)
    if len(_TABLES) > _TABLES_KEPT:
        _TABLES.popitem(last=False)
    return complete


def _looks_complete(index_KT: Tensor, length: int) -> bool:
    if not index_KT.numel():
        return False
    # Stacked, both numbers come with one wait for the GPU.
    low, high = (int(x) for x in torch.stack(index_KT.aminmax()).tolist())
    if low < -1 or high >= length:
        raise IndexError(
            f"selective_scan: index holds positions {low} to {high} of a map of {length}"
        )
    if index_KT.shape[1] != length:
        return False
    everything = torch.arange(length, device=index_KT.device)
    return bool((index_KT.sort(1).values == everything).all())
