"""The scan on a GPU, in Triton: routes walked in place, in chunks that run side by side where routes are long and few.

Where batch, routes and blocks of channels fill the card, one program walks a whole route. Else routes are cut into
chunks: a first pass walks each from a zero state and leaves its end and its sum of delta, a small kernel carries the
states from chunk to chunk, and the second pass walks the chunks again from the states that enter them.

Outputs that are to be merged are written for each route in float32 and added in order, or, of large maps, each on top
of those before; sums over channels, batch and chunks (dB, dC, dA, dD, dbias) are likewise written in parts. So the
result is bit-equal from run to run. Between forward and backward only the states that enter every eighth or
sixteenth step stay.
"""

import os
from collections import OrderedDict
from dataclasses import dataclass

import torch
from torch import Tensor

from ..launch import DTYPES, HAS_TRITON, launch, multiprocessors, on
from .common import ScanArgs, no_states

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
"""Triton's interpreter runs the kernels on a CPU, one element after another: smaller tiles there."""

LANES = 4 if INTERPRETED else 32


@dataclass(frozen=True)
class Config:
    """A tile is `warps` pieces of steps by `LANES * vector` channels; a thread has `registers` at most.

    `registers_uncut` takes their place where routes are not cut into chunks, and warps are fewer.
    """

    warps: int
    vector: int
    registers: int | None = None
    registers_uncut: int | None = None


@dataclass(frozen=True)
class Tiling:
    """Tiles of the two directions; a first pass over chunks takes the forward one's.

    `steps` of a piece: between the states that are kept for the backward pass.
    """

    steps: int
    forward: Config
    backward: Config

    @property
    def unit(self) -> int:
        """What chunks hold whole numbers of: the steps of the larger tile."""
        return self.steps * max(self.forward.warps, self.backward.warps)


ONE_STATE = Tiling(2 if INTERPRETED else 8, forward=Config(2, 2), backward=Config(1, 1, 128, 168))
FEW_STATES = Tiling(4 if INTERPRETED else 8, forward=Config(1, 2), backward=Config(1, 1, 128))
MANY_STATES = Tiling(4 if INTERPRETED else 16, forward=Config(1, 2), backward=Config(1, 1))
"""The fastest of those that `benchmarks/selective_scan_gpu.py --sweep` timed on an H200."""


def tiling(d_state: int) -> Tiling:
    """With many states shorter pieces would be hardly faster, and keep more than the map itself."""
    return ONE_STATE if d_state == 1 else FEW_STATES if d_state <= 8 else MANY_STATES


FULL, WANTED = 8, 32
"""Warps on each multiprocessor: with fewer than FULL, routes are cut into chunks for about WANTED."""

LARGE_MAP = 2**22
"""Elements of a map from which routes of several states that are to be merged are walked one after the other."""


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: no Triton, another device than CUDA (save under TRITON_INTERPRET=1), or too old a GPU."""
    if torch.version.hip is not None:
        return "its kernels hold instructions of NVIDIA's GPUs, and this PyTorch is built for ROCm"
    if not HAS_TRITON:
        return "triton is not installed (pip install triton)"
    if device.type == "cpu" and INTERPRETED:
        return None
    if device.type != "cuda":
        return f"its kernels are for CUDA, not {device.type}"
    if not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    capability = torch.cuda.get_device_capability(device)
    if capability < (7, 0):
        found = ".".join(map(str, capability))
        return f"it needs compute capability 7.0, {torch.cuda.get_device_name(device)} has {found}"
    return None


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    return (batch, routes, -(-steps // tiling(d_state).steps), d_state, channels)


@dataclass(frozen=True)
class Problem:
    """A scan's tensors as the kernels want them: last dimension contiguous, parameters float32."""

    u: Tensor
    delta: Tensor
    A_KND: Tensor
    B: Tensor
    C: Tensor
    D: Tensor | None
    bias: Tensor | None
    index: Tensor | None
    softplus: bool
    complete: bool

    @property
    def tiling(self) -> Tiling:
        return tiling(self.A_KND.shape[1])

    @property
    def sizes(self) -> tuple[int, int, int, int, int, int]:
        """B, L, K, D, N, T."""
        (batch, length, routes, channels), d_state = self.delta.shape, self.A_KND.shape[1]
        return (
            batch,
            length,
            routes,
            channels,
            d_state,
            length if self.index is None else self.index.shape[1],
        )

    def options(self, config: Config, *maps: Tensor) -> dict:
        """The constants of a kernel that reads and writes rows of `maps`.

        A lane takes the configuration's number of neighbouring channels if the rows of all maps begin on multiples of
        it and at most a quarter of the lanes idle; else one.
        """
        v, channels = config.vector, self.delta.shape[3]
        width = -(-channels // (LANES * v)) * LANES * v
        fits = (
            v == 1
            or channels % v == 0
            and 3 * width <= 4 * channels
            and all(
                x.data_ptr() % (v * x.element_size()) == 0
                and all(s % v == 0 for s in _row_strides(x))
                for x in maps
            )
        )
        v = v if fits else 1
        limit = {} if config.registers is None else dict(maxnreg=config.registers)
        return limit | dict(
            TT=self.tiling.steps,
            W=config.warps,
            DB=LANES * v,
            V=v,
            num_warps=config.warps,
            SINGLE=self.A_KND.shape[1] == 1,
            SOFTPLUS=self.softplus,
            HAS_BIAS=self.bias is not None,
            HAS_INDEX=self.index is not None,
            HOLES=not self.complete,
            EVEN=channels % (LANES * v) == 0,
        )

    def chunks(self, options: dict, routes: int) -> tuple[int, int]:
        """How many chunks, and how many steps in each, so that a launch for so many routes fills the card."""
        batch, _, _, channels, _, steps = self.sizes
        units = max(1, -(-steps // self.tiling.unit))
        card, warps = (
            multiprocessors(self.u.device),
            batch * routes * -(-channels // options["DB"]) * options["W"],
        )
        length = (
            units if warps >= FULL * card else -(-units // max(1, WANTED * card // max(1, warps)))
        )
        return -(-units // length), length * self.tiling.unit

    def programs(self, options: dict, chunks: int, routes: int) -> int:
        batch, _, _, channels, _, _ = self.sizes
        return batch * routes * chunks * -(-channels // options["DB"])


def _tiles(span: int, options: dict) -> int:
    return span // (options["TT"] * options["W"])


def _contiguous_rows(x: Tensor) -> Tensor:
    """With neighbouring channels, and positions less than 2 GiB apart, as the kernels take them."""
    whole = x.stride(-1) == 1 or x.shape[-1] == 1
    return x if whole and x.stride(1) * x.element_size() < 2**31 else x.contiguous()


def _problem(u, delta, A, B, C, D, bias, args: ScanArgs) -> Problem:
    for name, x in dict(u=u, delta=delta, A=A, B=B, C=C).items():
        if x.dtype not in DTYPES:
            raise TypeError(
                f"selective_scan backend 'triton': {name} is {x.dtype}, wanted float32, float16 or "
                "bfloat16; float64 runs with backend='naive' or 'torch'"
            )
    index = None if args.index_KT is None else args.index_KT.contiguous()
    u, delta, B, C = (_contiguous_rows(x) for x in (u, delta, B, C))
    A_KND = A.float().transpose(1, 2).contiguous()
    D, bias = (None if x is None else x.float().contiguous() for x in (D, bias))
    complete = index is None or args.index_complete or _complete(args.index_KT, delta.shape[1])
    return Problem(u, delta, A_KND, B, C, D, bias, index, args.delta_softplus, complete)


_TABLES: OrderedDict[tuple, tuple[Tensor, bool]] = OrderedDict()
_TABLES_KEPT = 256


def _complete(index_KT: Tensor, length: int) -> bool:
    """Whether every route visits every position once: then outputs need no zeros underneath.

    Asking the GPU waits for it, so answers are kept, each with its table, whose memory thus stays its own.

    Raises:
        IndexError: a position outside the map.
    """
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
        return False
    complete = False
    if index_KT.numel():
        low, high = (int(x) for x in torch.stack(index_KT.aminmax()).tolist())
        if low < -1 or high >= length:
            raise IndexError(
                f"selective_scan: index holds positions {low} to {high} of a map of {length}"
            )
        if index_KT.shape[1] == length:
            complete = bool(
                (index_KT.sort(1).values == torch.arange(length, device=index_KT.device)).all()
            )
    _TABLES[key] = (index_KT, complete)
    if len(_TABLES) > _TABLES_KEPT:
        _TABLES.popitem(last=False)
    return complete


def _row_strides(x: Tensor) -> tuple[int, int, int]:
    """Strides of batch, position and route; zero for a route dimension that all routes share."""
    return x.stride(0), x.stride(1), 0 if x.shape[2] == 1 else x.stride(2)


def _enter_chunks(
    p: Problem,
    x: Tensor,
    weight: Tensor,
    ends: Tensor,
    options: dict,
    chunks: int,
    span: int,
    strides,
    reverse: bool,
) -> None:
    """Passes one and two: the state (forward) or adjoint (reverse) that enters each chunk, into `ends`."""
    from .triton_forward import carry_kernel, chunk_ends_kernel

    batch, _, K, channels, d_state, steps = p.sizes
    sums_BKMD = torch.empty(batch, K, chunks, channels, dtype=torch.float32, device=x.device)
    launch(
        chunk_ends_kernel,
        p.programs(options, chunks, K),
        (x, p.delta, p.A_KND, weight, p.bias, p.index, ends, sums_BKMD),
        (
            *_row_strides(x),
            *_row_strides(p.delta),
            *_row_strides(weight),
            *strides,
            steps,
            channels,
            d_state,
            K,
            chunks,
            _tiles(span, options),
        ),
        **options,
        REVERSE=reverse,
    )
    rows = 4 if INTERPRETED else 64
    launch(
        carry_kernel,
        batch * K * d_state * -(-channels // LANES),
        (ends, sums_BKMD, p.A_KND),
        (*strides, channels, d_state, K, chunks),
        CT=rows,
        DB=LANES,
        REVERSE=reverse,
    )


def _outputs(p: Problem, dtype: torch.dtype, merge: bool) -> Tensor:
    """Where the kernels write a map for each route, `(B, L, K, D)`: in float32 where they are to be added up."""
    batch, length, K, channels, _, _ = p.sizes
    make = torch.empty if p.complete else torch.zeros
    return make(
        batch,
        length,
        K,
        channels,
        dtype=torch.float32 if merge and K > 1 else dtype,
        device=p.u.device,
    )


def _merge(y_BLKD: Tensor, dtype: torch.dtype, merge: bool) -> Tensor:
    from .triton_forward import merge_kernel

    batch, length, K, channels = y_BLKD.shape
    if not merge or K == 1:
        return y_BLKD
    total = torch.empty(batch, length, 1, channels, dtype=dtype, device=y_BLKD.device)
    rows, width = 8, 4 * LANES
    if total.numel():
        launch(
            merge_kernel,
            -(-batch * length // rows) * -(-channels // width),
            (y_BLKD, total),
            (batch * length, channels),
            K=K,
            ROWS=rows,
            DB=width,
        )
    return total


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    from .triton_forward import scan_kernel

    p = _problem(u, delta, A, B, C, D, bias, args)
    batch, _, K, channels, d_state, steps = p.sizes
    with on(u.device):
        y, options, chunks, span, walked = _plan(p, args)
        entries = states_shape(batch, steps, K, channels, d_state)[2] if keep_states else chunks
        states = torch.empty(
            batch, K, entries, d_state, channels, dtype=torch.float32, device=u.device
        )
        piece = d_state * channels if keep_states else 0
        strides = (
            states.stride(1),
            piece * span // p.tiling.steps if keep_states else states.stride(2),
        )
        sums = y
        if y.numel() and steps:
            if chunks > 1:
                _enter_chunks(p, p.u, p.B, states, options, chunks, span, strides, False)
            for first in range(0, K, walked):
                if first and first + walked == K and y.dtype != args.out_dtype:
                    y = torch.empty_like(sums, dtype=args.out_dtype)
                launch(
                    scan_kernel,
                    p.programs(options, chunks, walked),
                    (p.u, p.delta, p.A_KND, p.B, p.C, p.D, p.bias, p.index, states, sums, y),
                    (
                        *(s for x in (p.u, p.delta, p.B, p.C, y) for s in _row_strides(x)),
                        *strides,
                        piece,
                        steps,
                        channels,
                        d_state,
                        K,
                        chunks,
                        _tiles(span, options),
                        int(chunks > 1),
                        first,
                        walked,
                    ),
                    **options,
                    HAS_D=D is not None,
                    KEEP=keep_states,
                    ADD=first > 0,
                )
        y = _merge(y, args.out_dtype, args.merge)
    return y, states if keep_states else no_states(u, delta, A)


def _plan(p: Problem, args: ScanArgs) -> tuple[Tensor, dict, int, int, int]:
    """What the routes' outputs are written into, the kernel's constants, chunks, steps of each, routes of a launch.

    Large maps that are walked in chunks with several states are walked route by route, each adding to what is there: no
    map is written for each route. The sums are those of `_merge`, in its order. With one state it has not been timed.
    """
    batch, length, K, channels, d_state, _ = p.sizes
    options = p.options(p.tiling.forward, p.u, p.delta)
    chunks, span = p.chunks(options, K)
    large = d_state > 1 and batch * length * channels >= LARGE_MAP
    if args.merge and K > 1 and p.complete and chunks > 1 and large:
        y = torch.empty(batch, length, 1, channels, dtype=torch.float32, device=p.u.device)
        return y, options, *p.chunks(options, 1), 1
    return _outputs(p, args.out_dtype, args.merge), options, chunks, span, K


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    from .triton_backward import scan_backward_kernel

    p = _problem(u, delta, A, B, C, D, bias, args)
    batch, length, K, channels, d_state, steps = p.sizes
    dy = _contiguous_rows(grad_y)

    def new(*shape, dtype=torch.float32):
        return (torch.empty if p.complete else torch.zeros)(shape, dtype=dtype, device=u.device)

    with on(u.device):
        shared = u.shape[2] == 1
        du = _outputs(p, u.dtype, shared)
        ddelta, dB, dC = args.gradients or (
            new(batch, length, K, channels, dtype=delta.dtype),
            None,
            None,
        )
        if args.gradients and not p.complete:
            ddelta.zero_()
        options = p.options(p.tiling.backward, p.u, p.delta, dy, ddelta, du)
        chunks, span = p.chunks(options, K)
        if chunks == 1 and p.tiling.backward.registers_uncut:
            options["maxnreg"] = p.tiling.backward.registers_uncut
        # One tensor each for what is summed over blocks of channels, and over batch and chunks.
        blocks = -(-channels // options["DB"])
        dBC = new(2, blocks, batch, length, K, d_state)
        q_BKMND = torch.empty(
            batch, K, chunks, d_state, channels, dtype=torch.float32, device=u.device
        )
        sums_BKMSD = torch.empty(
            batch, K, chunks, d_state + 2, channels, dtype=torch.float32, device=u.device
        )
        if ddelta.numel() and steps:
            if chunks > 1:
                _enter_chunks(
                    p,
                    dy,
                    p.C,
                    q_BKMND,
                    p.options(p.tiling.forward, dy, p.delta),
                    chunks,
                    span,
                    (q_BKMND.stride(1), q_BKMND.stride(2)),
                    True,
                )
            launch(
                scan_backward_kernel,
                p.programs(options, chunks, K),
                (
                    p.u,
                    p.delta,
                    p.A_KND,
                    p.B,
                    p.C,
                    p.D,
                    p.bias,
                    p.index,
                    states,
                    q_BKMND,
                    dy,
                    du,
                    ddelta,
                    sums_BKMSD,
                    dBC[0],
                    dBC[1],
                ),
                (
                    *(s for x in (p.u, p.delta, p.B, p.C, dy, du, ddelta) for s in _row_strides(x)),
                    states.stride(1),
                    length,
                    steps,
                    channels,
                    d_state,
                    K,
                    chunks,
                    _tiles(span, options),
                    int(chunks > 1),
                ),
                **options,
                HAS_D=D is not None,
            )
        else:
            sums_BKMSD.zero_()
        du = _merge(du, u.dtype, shared)
        dBC = dBC[:, 0] if blocks == 1 else dBC.sum(1)
        if args.gradients:
            dB.copy_(dBC[0])
            dC.copy_(dBC[1])
        else:
            dB, dC = dBC.to(B.dtype)
        sums_KSD = sums_BKMSD.sum((0, 2))
    return (
        du,
        ddelta,
        sums_KSD[:, :d_state].transpose(1, 2).to(A.dtype),
        dB,
        dC.to(C.dtype),
        None if D is None else sums_KSD[:, d_state].to(D.dtype),
        None if bias is None else sums_KSD[:, d_state + 1].to(bias.dtype),
    )
