"""`selective_scan`, the one place where users and layers call the recurrence."""

import torch
from torch import Tensor

from ..autocast import autocast_dtype
from .library import ScanInputs, run


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    *,
    index: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
    merge: bool = True,
    out_dtype: torch.dtype | None = None,
    index_complete: bool = False,
    backend: str | None = None,
) -> Tensor:
    """K selective scans (S6) over one map, each along its own route.

    (Mamba, arXiv 2312.00752, section 3.) Along route k, position after position, per channel and
    from a zero state: `h = exp(delta * A) * h + delta * B * u`, `y = <C, h> + D * u`.

    Args:
        u: `(B, L, D)`, one map for all routes, or `(B, L, K, D)`, one for each.
        delta: `(B, L, K, D)` step sizes, at the map's own positions like B and C.
        A: `(K, D, N)`, negative.
        B, C: `(B, L, K, N)`.
        D: `(K, D)` skip weights, or None.
        index: `(K, T)` integers, the positions each route visits in order, none twice; -1 is a
            hole, a step that sees zeros and whose output is dropped (padding). None: every route
            goes 0 … L-1. See `ops.routes`.
        delta_bias: `(K, D)`, added to delta.
        delta_softplus: apply softplus to delta, after the bias.
        merge: sum the routes' outputs at each position; else keep them apart.
        out_dtype: of the result; by default the (autocast) dtype of u. State and sums are float32
            whatever it is (float64 for float64 inputs).
        index_complete: every route is known to visit every position of the map once
            (`ops.routes.cover`). Else a GPU backend looks at each table once, which waits for the
            GPU.
        backend: force one by name; by default `$MMMAMBA_SCAN_BACKEND` or the fastest that can run.

    Returns:
        y at the map's positions, `(B, L, D)` merged or `(B, L, K, D)`; zero where no route goes.

    Under autocast u, delta, B and C are taken in its dtype; A, D and the bias keep theirs.

    A backend's kernels give y and its gradients. In forward mode, inside of `torch.func`'s
    transforms (jvp, grad, vmap, jacrev, …) and for gradients that are differentiated again
    (`create_graph=True`) the same is computed by the backend "torch", or "naive" if that is the
    backend: as exact, but slower, and a way back through it keeps the states of every step. The log
    says so once.

    Raises:
        ValueError: shapes that do not fit.
        TypeError: integers or complex numbers, as inputs or as `out_dtype`.
        BackendError: no backend can run, or not the one asked for.
    """
    _check(u, delta, A, B, C, D, index, delta_bias)
    if out_dtype is not None and not out_dtype.is_floating_point:
        raise TypeError(f"selective_scan: out_dtype is {out_dtype}, wanted a floating-point one")
    low = autocast_dtype(u)
    if low is not None:
        # As PyTorch's own autocast does, float64 is left as it is.
        u, delta, B, C = (x.to(low) if x.dtype != torch.float64 else x for x in (u, delta, B, C))
    if u.dim() == 3:
        # One route, not K expanded ones: backends then add up the gradient over routes before they
        # round it to u's dtype.
        u = u.unsqueeze(2)
    differentiable = (u, delta, A, B, C, D, delta_bias)
    y = run(
        ScanInputs(
            u=u,
            delta=delta,
            A=A,
            B=B,
            C=C,
            D=D,
            bias=delta_bias,
            index_KT=index,
            delta_softplus=delta_softplus,
            merge=merge,
            out_dtype=out_dtype or u.dtype,
            # Asked here, as gradients are off inside of an autograd function's forward.
            keep_states=_needs_gradients(differentiable),
            index_complete=index_complete,
            backend=backend or "",
        )
    )
    return y.squeeze(2) if merge else y


def _needs_gradients(tensors: tuple[Tensor | None, ...]) -> bool:
    return torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in tensors)


def _check(u, delta, A, B, C, D, index, delta_bias) -> None:
    if delta.dim() != 4 or A.dim() != 3:
        raise ValueError(
            "selective_scan wants delta (B, L, K, D) and A (K, D, N), "
            f"got {_shape(delta)} and {_shape(A)}"
        )
    batch, length, K, channels = delta.shape
    N = A.shape[2]
    per_step, per_channel = ((batch, length, K, N),), ((K, channels),)
    # Each name, its tensor, and the shapes that it may have.
    wanted = (
        ("u", u, ((batch, length, channels), (batch, length, K, channels))),
        ("delta", delta, ((batch, length, K, channels),)),
        ("A", A, ((K, channels, N),)),
        ("B", B, per_step),
        ("C", C, per_step),
        ("D", D, per_channel),
        ("delta_bias", delta_bias, per_channel),
    )
    device = u.device
    for name, x, shapes in wanted:
        if x is None:
            continue
        if x.shape not in shapes:
            raise ValueError(
                f"selective_scan: {name} is {_shape(x)}, but delta {_shape(delta)} and "
                f"A {_shape(A)} ask for {' or '.join(map(str, shapes))}"
            )
        if x.device != device:
            raise ValueError(f"selective_scan: {name} is on {x.device}, u on {device}")
        if not x.is_floating_point():
            cure = "" if x.is_complex() else f" ({name}.float())"
            raise TypeError(f"selective_scan: {name} is {x.dtype}, wanted floating point{cure}")
    # What the table holds is left to the backends: reading it here would wait for the GPU.
    if index is None:
        return
    if index.dim() != 2 or index.shape[0] != K:
        raise ValueError(f"selective_scan: index is {_shape(index)}, wanted (K={K}, T)")
    if index.dtype not in (torch.int32, torch.int64) or index.device != u.device:
        raise ValueError(
            f"selective_scan: index is {index.dtype} on {index.device}, "
            f"wanted int32 or int64 on {u.device}"
        )


def _shape(x: Tensor) -> tuple[int, ...]:
    return tuple(x.shape)
