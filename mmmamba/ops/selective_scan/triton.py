"""The scan on a GPU, in Triton: routes walked in place, side by side in chunks where they are few.

Where batch, routes and blocks of channels fill the card, one program walks a whole route. Else
routes are cut into chunks: a first pass walks each from a zero state and leaves its end and its sum
of delta, a small kernel carries the states from chunk to chunk, and the second pass walks the
chunks again from the states that enter them.

Outputs that are to be merged are written for each route in float32 and added in order, or, of large
maps, each on top of those before; sums over channels, batch and chunks (dB, dC, dA, dD, dbias) are
likewise written in parts. So the result is bit-equal from run to run. Between forward and backward
only the states that enter every eighth or sixteenth step stay.
"""

import torch
from torch import Tensor

from ..launch import HAS_TRITON
from .common import ScanArgs, no_states
from .triton_choice import INTERPRETED
from .triton_problem import Problem, contiguous_rows, make_problem


def unavailable(device: torch.device) -> str | None:
    """Why it cannot run: no Triton, no CUDA device (save in the interpreter), or too old a GPU."""
    # First: HAS_TRITON is false on ROCm too, but not for want of a package.
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


STATES_BY_IMAGE = True
"""Whether states are kept for each image, the first axis, so that they can be divided."""


def states_shape(
    batch: int, steps: int, routes: int, channels: int, d_state: int
) -> tuple[int, ...]:
    # What has to do with kernels is imported late: it needs Triton, and `unavailable` is asked
    # where there is none.
    from .triton_plan import states_shape

    return states_shape(batch, steps, routes, channels, d_state)


def _float32(shape: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.empty(shape, dtype=torch.float32, device=device)


def _new(p: Problem, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    """What routes write into: zero where no route may go.

    On complete routes every element is written, so clearing would only cost a pass.
    """
    make = torch.empty if p.complete else torch.zeros
    return make(shape, dtype=dtype, device=p.u.device)


def _enter_chunks(p: Problem, entrance, x: Tensor, weight: Tensor, ends: Tensor) -> None:
    """Writes what enters each chunk into `ends`; x and weight are u and B, or dy and C."""
    sums_BKMD = _float32(entrance.sums, p.u.device)
    entrance.ends(x, p.delta, p.A_KND, weight, p.bias, p.table, ends, sums_BKMD)
    entrance.carry(ends, sums_BKMD, p.A_KND)


def forward(u, delta, A, B, C, D, bias, args: ScanArgs, keep_states: bool) -> tuple[Tensor, Tensor]:
    from .triton_merge import merged
    from .triton_plan import forward_plan

    p = make_problem(u, delta, A, B, C, D, bias, args)
    plan = forward_plan(p, args.merge, args.out_dtype, keep_states)
    y = sums = _new(p, plan.sums.shape, plan.sums.dtype)
    states = _float32(plan.states, p.u.device)
    if sums.numel() and p.sizes.steps:
        if plan.entrance is not None:
            _enter_chunks(p, plan.entrance, p.u, p.B, states)
        maps = (p.u, p.delta, p.A_KND, p.B, p.C, p.D, p.bias, p.table, states, sums)
        *before, last = plan.walks
        for walk in before:
            walk(*maps, sums)
        # The last of several launches rounds the sums of all to the dtype asked for.
        if before and sums.dtype != args.out_dtype:
            y = torch.empty_like(sums, dtype=args.out_dtype)
        last(*maps, y)
    if args.merge:
        y = merged(y, args.out_dtype)
    return y, states if keep_states else no_states(u, delta, A)


def backward(
    grad_y, states, u, delta, A, B, C, D, bias, args: ScanArgs
) -> tuple[Tensor | None, ...]:
    from .triton_merge import merged
    from .triton_plan import backward_plan

    p = make_problem(u, delta, A, B, C, D, bias, args)
    d_state, device = p.sizes.d_state, p.u.device
    shared = u.shape[2] == 1
    dy, ddelta = contiguous_rows(grad_y), _new_ddelta(p, args)
    plan = backward_plan(p, dy, ddelta)
    du = _new(p, plan.du.shape, plan.du.dtype)
    dBC = _new(p, plan.dBC, torch.float32)
    sums_BKMSD = _float32(plan.parameters, device)
    if ddelta.numel() and p.sizes.steps:
        adjoints = _float32(plan.adjoints, device)
        if plan.entrance is not None:
            _enter_chunks(p, plan.entrance, dy, p.C, adjoints)
        maps = (p.u, p.delta, p.A_KND, p.B, p.C, p.D, p.bias, p.table, states, adjoints)
        plan.walk(*maps, dy, du, ddelta, sums_BKMSD, dBC)
    else:
        # Nothing is launched, but these are added up all the same.
        sums_BKMSD.zero_()
    if shared:
        du = merged(du, u.dtype)
    dB, dC = _weights_gradients(dBC, args, B.dtype, C.dtype)
    dA, dD, dbias = _parameters_gradients(sums_BKMSD, d_state)
    return (
        du,
        ddelta,
        dA.to(A.dtype),
        dB,
        dC,
        None if D is None else dD.to(D.dtype),
        None if bias is None else dbias.to(bias.dtype),
    )


def _parameters_gradients(sums_BKMSD: Tensor, d_state: int) -> tuple[Tensor, Tensor, Tensor]:
    """Those of A, `(K, D, N)`, of D and of the bias from the sums over each chunk."""
    _, K, _, numbers, channels = sums_BKMSD.shape
    # State by state, so that each is without gaps: autograd would copy it, else.
    sums_SKD = sums_BKMSD.new_empty(numbers, K, channels)
    torch.sum(sums_BKMSD, (0, 2), out=sums_SKD.transpose(0, 1))
    dA_NKD, dD, dbias = sums_SKD.narrow(0, 0, d_state), sums_SKD[d_state], sums_SKD[d_state + 1]
    return dA_NKD.permute(1, 2, 0), dD, dbias


def _new_ddelta(p: Problem, args: ScanArgs) -> Tensor:
    """Where the gradient of delta goes, zero where no route may go."""
    if args.gradients is None:
        return _new(p, p.delta.shape, p.delta.dtype)
    ddelta = args.gradients[0]
    return ddelta if p.complete else ddelta.zero_()


def _weights_gradients(
    dBC: Tensor, args: ScanArgs, B_dtype: torch.dtype, C_dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """dB and dC, summed over blocks of channels, in the caller's tensors where there are."""
    summed = dBC.squeeze(1) if dBC.shape[1] == 1 else dBC.sum(1)
    if args.gradients is not None:
        dB, dC = args.gradients[1].copy_(summed).unbind()
        return dB, dC
    dB, dC = summed.unbind()
    return dB.to(B_dtype), dC.to(C_dtype)
