"""Derivatives beyond one backward pass: no operator's are silently zero or half there."""

import logging

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap

from mmmamba.layers import SS2D
from mmmamba.ops import add_spectrum, projected_scan, route_table, selective_scan
from mmmamba.ops.recompute import gelu_linear, gelu_mlp
from mmmamba.ops.selective_scan import dispatch, library

from .second_order import difference, leaves
from .test_selective_scan import CPU_BACKENDS, NAMES, make_inputs

backends = pytest.mark.parametrize("backend", ["naive", *CPU_BACKENDS])


def scan_and_inputs(backend, **options):
    """A function of all that can have a gradient, and these."""
    inputs = make_inputs(2, 2, channels=2, d_state=2, routes=("row", "column_reversed"), batch=1)
    fixed = dict(index=inputs["index"], delta_softplus=True, backend=backend, **options)

    def scan(u, delta, A, B, C, D, delta_bias):
        return selective_scan(u, delta, A, B, C, D, delta_bias=delta_bias, **fixed)

    return scan, tuple(inputs[name] for name in NAMES)


@backends
def test_forward_mode_batched_gradients_and_second_derivatives(backend):
    scan, inputs = scan_and_inputs(backend)
    assert gradcheck(scan, leaves(inputs), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(scan, leaves(inputs), fast_mode=True)


@backends
def test_jvp_without_any_gradient_wanted(backend):
    scan, inputs = scan_and_inputs(backend, merge=False)
    tangents = tuple(torch.randn_like(x) for x in inputs)
    y, derivative = jvp(scan, inputs, tangents)
    torch.testing.assert_close(y, scan(*inputs))
    torch.testing.assert_close(derivative, difference(scan, inputs, tangents), rtol=1e-6, atol=1e-6)
    with torch.no_grad(), torch.autograd.forward_ad.dual_level():
        dual = scan(*(torch.autograd.forward_ad.make_dual(x, t) for x, t in zip(inputs, tangents)))
        assert torch.equal(torch.autograd.forward_ad.unpack_dual(dual).tangent, derivative)


@backends
def test_transforms_of_torch_func(backend):
    scan, inputs = scan_and_inputs(backend)

    def loss(*tensors):
        return scan(*tensors).square().sum()

    everything = tuple(range(len(inputs)))
    wanted = leaves(inputs)
    for got, want in zip(
        grad(loss, everything)(*inputs), torch.autograd.grad(loss(*wanted), wanted)
    ):
        torch.testing.assert_close(got, want)
    for got, want, exact in zip(
        jacrev(scan, everything)(*inputs),
        jacfwd(scan, everything)(*inputs),
        torch.autograd.functional.jacobian(scan, inputs),
    ):
        torch.testing.assert_close(got, exact)
        torch.testing.assert_close(want, exact)
    torch.testing.assert_close(
        hessian(loss)(*inputs),
        torch.autograd.functional.hessian(lambda u: loss(u, *inputs[1:]), inputs[0]),
    )


@backends
@pytest.mark.parametrize("mapped", [*range(len(NAMES)), "all"])
def test_vmap_over_any_input(backend, mapped):
    scan, inputs = scan_and_inputs(backend)
    dims = tuple(0 if mapped in (i, "all") else None for i in range(len(inputs)))
    several = [
        x if dim is None else torch.stack([x, 0.5 * x, 2 * x]) for x, dim in zip(inputs, dims)
    ]
    each = [[x if dim is None else x[i] for x, dim in zip(several, dims)] for i in range(3)]
    torch.testing.assert_close(
        vmap(scan, dims)(*several), torch.stack([scan(*some) for some in each])
    )

    def of_u(*tensors):
        return grad(lambda *tensors: scan(*tensors).square().sum())(*tensors)

    torch.testing.assert_close(
        vmap(of_u, dims)(*several), torch.stack([of_u(*some) for some in each])
    )


@backends
def test_a_penalty_on_the_gradient_of_a_plain_sum(backend):
    """The gradient that comes in is a constant, the one that goes out depends on the inputs."""
    scan, inputs = scan_and_inputs(backend)

    def penalised(u, delta):
        (slope,) = torch.autograd.grad(scan(u, delta, *inputs[2:]).sum(), u, create_graph=True)
        return slope.square().sum() + delta.square().sum()

    u, delta = leaves(inputs[:2])
    (got,) = torch.autograd.grad(penalised(u, delta), delta)
    tangent = torch.randn_like(delta)
    want = difference(lambda delta: penalised(u, delta), (delta.detach(),), (tangent,))
    torch.testing.assert_close((got * tangent).sum(), want.detach(), rtol=1e-6, atol=1e-6)


@backends
def test_inputs_that_are_made_of_one_another(backend):
    scan, (u, delta, A, B, _, D, bias) = scan_and_inputs(backend)

    def tied(u, B):
        return scan(u, delta + u.sum(-1)[..., None, None], A, B, B, D, bias)

    assert gradgradcheck(tied, leaves((u, B)), fast_mode=True)


def test_operators_in_a_graph():
    """Compiled and exported, where the operator is a node of which derivatives are taken later."""
    scan, (u, *others) = scan_and_inputs("cpu")

    class Scan(torch.nn.Module):
        def forward(self, u):
            return scan(u, *others)

    tangent = torch.randn_like(u)
    want = difference(Scan(), (u,), (tangent,))
    with torch.no_grad():
        exported = torch.export.export(Scan(), (u,)).module()
    compiled = torch.compile(
        lambda u, tangent: jvp(Scan(), (u,), (tangent,))[1], backend="aot_eager"
    )
    for got in (jvp(exported, (u,), (tangent,))[1], compiled(u, tangent)):
        torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    assert gradgradcheck(exported, leaves((u,)), fast_mode=True)
    # It was exported where nobody wanted gradients.
    (one, other) = (
        torch.autograd.grad(module(x).sum(), x)[0]
        for module in (Scan(), exported)
        for x in leaves((u,))
    )
    torch.testing.assert_close(one, other)
    torch.testing.assert_close(
        vmap(exported)(torch.stack([u, 2 * u])), torch.stack([exported(u), exported(2 * u)])
    )


def test_second_derivatives_under_a_counter_of_operators():
    scan, inputs = scan_and_inputs("cpu")
    with torch.utils.flop_counter.FlopCounterMode(display=False):
        assert gradgradcheck(scan, leaves(inputs), fast_mode=True)


def test_a_backward_pass_as_an_operator_has_no_derivative():
    _scan, inputs = scan_and_inputs("naive")
    u, *others = leaves(inputs)
    arguments = (
        torch.ones(1, 4, 1, 2).double(),
        torch.empty(0),
        u.unsqueeze(2),
        *others,
        None,
        True,
        True,
        False,
        "naive",
    )
    with pytest.raises(
        NotImplementedError,
        match="selective_scan_backward.*differentiate selective_scan with create_g",
    ):
        library.scan_backward_op(*arguments)
    with torch.no_grad():
        assert len(library.scan_backward_op(*arguments)) == 7


@backends
def test_projected_scan(backend, monkeypatch):
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", backend)
    index, D, N = route_table(("row", "column"), 2, 2), 2, 1
    inputs = (
        torch.randn(1, 4, D).double(),
        torch.randn(2 * (D + 2 * N), D).double(),
        -torch.rand(2, D, N).double() - 0.1,
        torch.randn(2, D).double(),
        torch.randn(2, D).double(),
    )

    def scan(x, weight, A, skip, bias):
        return projected_scan(x, weight, A, skip, index=index, delta_bias=bias)

    assert gradcheck(scan, leaves(inputs), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(scan, leaves(inputs), fast_mode=True)
    with torch.no_grad():
        tangents = tuple(torch.randn_like(x) for x in inputs)
        torch.testing.assert_close(
            jvp(scan, inputs, tangents)[1], difference(scan, inputs, tangents), rtol=1e-6, atol=1e-6
        )
    wanted = leaves(inputs)
    for got, want in zip(
        grad(lambda *x: scan(*x).square().sum(), tuple(range(5)))(*inputs),
        torch.autograd.grad(scan(*wanted).square().sum(), wanted),
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("bias", [True, False])
def test_recomputed_activation(bias):
    inputs = [torch.randn(shape).double() for shape in ((2, 3), (4, 3), (4,))[: 2 + bias]]

    def linear(x, weight, bias=None):
        return gelu_linear(x, weight, bias)

    assert gradcheck(linear, leaves(inputs), check_batched_grad=True)
    assert gradgradcheck(linear, leaves(inputs), fast_mode=True)
    tangents = tuple(torch.randn_like(x) for x in inputs)
    torch.testing.assert_close(
        jvp(linear, tuple(inputs), tangents)[1],
        difference(linear, inputs, tangents),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("bias", [True, False])
def test_feed_forward_layer_in_one_step(bias):
    shapes = ((2, 3), (4, 3), (4,), (2, 4), (2,))
    inputs = [torch.randn(shape).double() for shape in shapes if bias or len(shape) == 2]

    def mlp(x, *parameters):
        first, second = parameters[: 1 + bias], parameters[1 + bias :]
        return gelu_mlp(x, *first, *[None] * (not bias), *second, *[None] * (not bias))

    assert gradcheck(mlp, leaves(inputs), check_batched_grad=True)
    assert gradgradcheck(mlp, leaves(inputs), fast_mode=True)
    tangents = tuple(torch.randn_like(x) for x in inputs)
    torch.testing.assert_close(
        jvp(mlp, tuple(inputs), tangents)[1],
        difference(mlp, inputs, tangents),
        rtol=1e-6,
        atol=1e-6,
    )


@pytest.mark.parametrize("shift", [False, True])
def test_spectrum(shift):
    inputs = (torch.randn(2, 3, 4).double(), torch.randn(2).double())

    def spectrum(x, weight):
        return add_spectrum(x, weight, shift)

    assert gradcheck(spectrum, leaves(inputs), check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(spectrum, leaves(inputs), fast_mode=True)


def test_gradients_of_each_sample_of_a_mixer():
    """As torch.func's users have them: vmap of grad of a module's functional form."""
    torch.manual_seed(0)
    mixer, x = SS2D(4).double(), torch.randn(3, 2, 3, 4).double()

    def loss(parameters, x):
        return functional_call(mixer, parameters, (x[None],)).square().sum()

    parameters = {name: p.detach() for name, p in mixer.named_parameters()}
    each = vmap(grad(loss), (None, 0))(parameters, x)
    for i in range(len(x)):
        mixer.zero_grad()
        mixer(x[i : i + 1]).square().sum().backward()
        for name, p in mixer.named_parameters():
            torch.testing.assert_close(each[name][i], p.grad)


def test_the_log_names_the_backend_that_computes_them(caplog):
    dispatch._plain_module.cache_clear()
    scan, inputs = scan_and_inputs("cpu")
    with caplog.at_level(logging.INFO, logger="mmmamba"):
        for _ in range(2):
            jvp(scan, inputs, inputs)
    assert [r.getMessage() for r in caplog.records if "in place of" in r.getMessage()] == [
        (
            "selective_scan on cpu: backend 'torch' in place of 'cpu' for forward mode, torch.func "
            "and gradients that are differentiated again"
        )
    ]


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.bool, torch.complex64])
def test_numbers_without_a_fraction_and_complex_ones_are_refused(dtype):
    inputs = make_inputs(2, 2)
    for name in NAMES:
        with pytest.raises(
            TypeError, match=f"selective_scan: {name} is {dtype}, wanted floating point"
        ):
            selective_scan(**inputs | {name: inputs[name].to(dtype)})
    with pytest.raises(
        TypeError, match=f"selective_scan: out_dtype is {dtype}, wanted a floating-point one"
    ):
        selective_scan(**inputs, out_dtype=dtype)
    with pytest.raises(TypeError, match=f"projected_scan: x_BLD is {dtype}, wanted floating point"):
        projected_scan(
            torch.ones(1, 4, 2, dtype=dtype), torch.ones(4, 2), -torch.ones(1, 2, 1), None
        )
