"""Depthwise convolutions: by definition, and the kernels against PyTorch's operators.

The kernels run on a GPU, and small in Triton's interpreter.
"""

import importlib

import pytest
import torch

from mmmamba.ops import depthwise_conv
from mmmamba.ops.depthwise_conv import ACTS, _Fused, _plain, kernels_of, kernels_take

from .interpreter import DEVICE, inside, kernels
from .interpreter_memory import check_addresses
from .second_order import assert_second_order_equal

gpu = pytest.mark.gpu
pytestmark = pytest.mark.usefixtures("poisoned_memory")
TOLERANCE = {torch.float32: 1e-4, torch.float16: 1e-2, torch.bfloat16: 4e-2}


@pytest.fixture
def interpreter(monkeypatch):
    """Kernels touch nothing but the tensors they are given."""
    check_addresses(monkeypatch)


def make(
    batch,
    channels,
    height,
    width,
    side=3,
    bias=True,
    dtype=torch.float32,
    device="cpu",
    sliced=False,
):
    """x, weight, bias or None, and a gradient of the output."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, height, width, 2 * channels, generator=generator).to(device, dtype)
    x = x[..., channels:] if sliced else x[..., :channels].contiguous()
    weight, grad = (
        torch.randn(shape, generator=generator).to(device, dtype)
        for shape in ((channels, 1, side, side), (batch, height, width, channels))
    )
    bias = torch.randn(channels, generator=generator).to(device, dtype) if bias else None
    return x.permute(0, 3, 1, 2), weight, bias, grad.permute(0, 3, 1, 2)


def outputs(function, x, weight, bias, grad, act):
    """What the function gives, and the gradients of what it takes."""
    leaves = [None if t is None else t.detach().requires_grad_() for t in (x, weight, bias)]
    y = function(*leaves, act)
    return [y.detach(), *torch.autograd.grad(y, [t for t in leaves if t is not None], grad)]


def assert_close(got, want, tolerance):
    assert len(got) == len(want)
    for found, wanted in zip(got, want):
        assert found.shape == wanted.shape
        atol = tolerance * float(wanted.abs().max())
        torch.testing.assert_close(found.to(wanted.dtype), wanted, rtol=tolerance, atol=atol)


def by_definition(x, weight, bias, act, stride):
    """The weighted sum of the shifted map, every stride-th row and column of it."""
    (rows, columns), (H, W) = weight.shape[2:], x.shape[2:]
    half = (columns // 2, columns // 2, rows // 2, rows // 2)
    padded = torch.nn.functional.pad(x, half)
    y = torch.zeros_like(x) + (0 if bias is None else bias[:, None, None])
    for i in range(rows):
        for j in range(columns):
            y = y + weight[:, 0, i, j][:, None, None] * padded[:, :, i : i + H, j : j + W]
    y = y[:, :, ::stride, ::stride]
    return ACTS[act](y) if act else y


KERNELS = [(1, 1), (3, 3), (5, 5), (7, 7), (11, 11), (1, 7), (3, 1), (3, 5)]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("kernel", KERNELS)
def test_definition(kernel, stride):
    """Values, gradients and second derivatives of any odd kernel, on odd and even maps."""
    for height, width in ((6, 5), (3, 8)):
        x, _, bias, _ = make(2, 3, height, width, dtype=torch.float64)
        generator = torch.Generator().manual_seed(1)
        weight = torch.randn(3, 1, *kernel, generator=generator, dtype=torch.float64)
        for act, offset in (("silu", bias), ("gelu", bias), (None, None)):
            given = [t for t in (x, weight, offset) if t is not None]
            got = depthwise_conv(x, weight, offset, act, stride)
            assert got.shape == (2, 3, -(-height // stride), -(-width // stride))
            torch.testing.assert_close(got, by_definition(x, weight, offset, act, stride))
            assert_second_order_equal(
                lambda x, weight, bias=None, act=act: depthwise_conv(x, weight, bias, act, stride),
                lambda x, weight, bias=None, act=act: by_definition(x, weight, bias, act, stride),
                given,
                1e-9,
            )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel", [(3, 3), (7, 7), (1, 5)])
def test_compiles_into_one_graph(kernel, stride):
    x, _, bias, _ = make(1, 4, 5, 6)
    weight = torch.randn(4, 1, *kernel, requires_grad=True)

    def convolve(x, weight):
        return depthwise_conv(x, weight, bias, "silu", stride)

    compiled = torch.compile(convolve, fullgraph=True, backend="aot_eager")
    y, want = compiled(x, weight), convolve(x, weight)
    torch.testing.assert_close(y, want)
    (got,), (wanted,) = (torch.autograd.grad(z.square().sum(), weight) for z in (y, want))
    torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize(
    ("shape", "stride", "message"),
    [
        ((4, 1, 2, 2), 1, r"kernel is 2 x 2, wanted odd sides"),
        ((4, 1, 3, 4), 2, r"kernel is 3 x 4, wanted odd sides"),
        ((4, 1, 3, 3), 0, r"stride is 0, wanted 1 or more"),
        ((5, 1, 3, 3), 1, r"weight is \(5, 1, 3, 3\) and x \(1, 4, 5, 6\), wanted \(4, 1, S, T\)"),
        ((4, 4, 3, 3), 1, r"weight is \(4, 4, 3, 3\)"),
        ((4, 1, 3), 1, r"weight is \(4, 1, 3\)"),
    ],
)
def test_what_it_does_not_do_is_named(shape, stride, message):
    with pytest.raises(ValueError, match=message):
        depthwise_conv(make(1, 4, 5, 6)[0], torch.ones(shape), stride=stride)


def test_an_activation_that_is_none():
    with pytest.raises(ValueError, match="act is 'relu', wanted one of \\['silu', 'gelu', None"):
        depthwise_conv(make(1, 4, 5, 6)[0], torch.ones(4, 1, 3, 3), act="relu")


def test_a_map_of_other_sides_cannot_be_added():
    with pytest.raises(ValueError, match="residual wants a stride of 1, got 2"):
        depthwise_conv(make(1, 4, 5, 6)[0], torch.ones(4, 1, 3, 3), stride=2, residual=True)


@pytest.mark.parametrize(
    ("kernel", "stride", "takes"),
    [
        ((3, 3), 1, True),
        ((5, 5), 1, True),
        ((3, 3), 2, True),
        ((7, 7), 2, True),
        ((9, 9), 2, False),
        ((3, 3), 3, False),
        ((7, 7), 1, True),
        ((9, 9), 1, False),
        ((1, 5), 1, False),
        ((5, 3), 1, False),
    ],
)
def test_which_way_is_taken(monkeypatch, kernel, stride, takes):
    """As on a GPU that nobody watches."""
    module = importlib.import_module("mmmamba.ops.depthwise_conv")
    monkeypatch.setattr(module, "unwatched", lambda x: True)
    monkeypatch.setattr(module, "HAS_TRITON", True)
    x, _, _, _ = make(1, 8, 5, 6)
    weight = torch.ones(8, 1, *kernel)
    assert kernels_take(x, weight, stride) == takes
    assert not kernels_take(x.contiguous(), weight, stride)
    assert not kernels_take(x.double(), weight.double(), stride)
    assert not kernels_take(x, weight.half(), stride)
    assert kernels_take(x, weight, stride, "gelu") == (takes and stride == 1 and kernel[0] < 7)


@inside
@pytest.mark.parametrize(
    ("shape", "side", "bias", "act", "sliced"),
    [
        ((2, 3, 1, 1), 3, True, "silu", False),
        ((1, 40, 2, 7), 3, True, "silu", True),
        ((2, 64, 5, 3), 3, False, "silu", False),
        pytest.param((1, 33, 21, 17), 3, True, None, True, marks=pytest.mark.slow),
        ((2, 3, 5, 3), 5, True, "silu", True),
        ((1, 40, 5, 3), 1, False, "silu", False),
        pytest.param((1, 3, 8, 3), 7, True, "silu", True, marks=pytest.mark.slow),
        ((1, 33, 3, 2), 7, False, None, False),
        ((2, 40, 5, 3), 3, True, "gelu", True),
        ((1, 3, 4, 6), 5, False, "gelu", False),
    ],
)
def test_kernels_equal_pytorch(interpreter, shape, side, bias, act, sliced):
    kernels = kernels_of(torch.empty(1, 1, side, side))
    forward, backward = kernels.forward, kernels.backward
    x, weight, bias, grad = make(*shape, side, bias, sliced=sliced)
    want = outputs(_plain, x, weight, bias, grad, act)
    y = forward(x, weight, bias, act)
    assert y.permute(0, 2, 3, 1).is_contiguous()
    gradients = backward(grad, x, weight, bias, act, True, True)
    assert_close([y, *(g for g in gradients if g is not None)], want, 1e-5)


@inside
def test_gradients_in_other_strides(interpreter):
    """A sum's gradient has no strides, that of a channels-first layer others, a crop's has gaps."""
    from mmmamba.ops.kernels.depthwise_conv import backward

    x, weight, bias, grad = make(2, 8, 4, 5)
    gradients = (
        torch.ones(()).expand(x.shape),
        grad.contiguous(),
        make(2, 8, 9, 11)[-1][:, :, 2:6, 3:8],
    )
    for grad in gradients:
        assert_close(
            backward(grad, x, weight, bias, "silu", True, True),
            outputs(_plain, x, weight, bias, grad, "silu")[1:],
            1e-5,
        )


@kernels
@pytest.mark.parametrize(
    "act, dtype",
    [("silu", torch.float32), (None, torch.bfloat16), ("gelu", torch.bfloat16)],
)
def test_the_map_added(where, act, dtype):
    """The kernels' sum with the map, as PyTorch's operators and by definition."""
    given = make(1, 4, 5, 3, dtype=dtype, device=DEVICE)
    x, weight, bias, _ = full = [t.float() for t in given]
    want = outputs(lambda *x: _plain(*x, 1, True), *full, act)
    y = x + by_definition(x, weight, bias, None, 1)
    torch.testing.assert_close(want[0], ACTS[act](y) if act else y)
    got = outputs(lambda *x: _Fused.apply(*x, True), *given, act)
    assert_close(got, want, TOLERANCE[dtype])


@kernels
def test_second_derivatives_with_the_map_added(where):
    assert_second_order_equal(
        lambda *x: _Fused.apply(*x, "silu", True),
        lambda *x: _plain(*x, "silu", 1, True),
        make(1, 2, 3, 2, device=DEVICE)[:3],
    )


@inside
@pytest.mark.parametrize("act", ["silu", "gelu", None])
def test_second_derivatives(interpreter, act):
    assert_second_order_equal(
        lambda *x: _Fused.apply(*x, act), lambda *x: _plain(*x, act), make(1, 4, 2, 3)[:3]
    )


@inside
@pytest.mark.parametrize("act", ["silu", "gelu", None])
def test_only_what_is_wanted(interpreter, act):
    from mmmamba.ops.kernels.depthwise_conv import backward

    x, weight, bias, grad = make(1, 8, 4, 5)
    want = outputs(_plain, x, weight, bias, grad, act)[1:]
    dx, dweight, dbias = backward(grad, x, weight, bias, act, True, False)
    assert dweight is None and dbias is None
    assert_close([dx], want[:1], 1e-5)
    dx, *rest = backward(grad, x, weight, bias, act, False, True)
    assert dx is None
    assert_close(rest, want[1:], 1e-5)


@inside
def test_empty_batch():
    from mmmamba.ops.kernels.depthwise_conv import backward, forward

    x, weight, bias, grad = make(0, 8, 4, 5)
    assert forward(x, weight, bias, "silu").shape == x.shape
    dx, dweight, dbias = backward(grad, x, weight, bias, "silu", True, True)
    assert dx.shape == x.shape and not dweight.any() and not dbias.any()


@gpu
@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("shape", "side", "bias", "act", "sliced"),
    [
        ((2, 96, 50, 84), 3, False, "silu", False),
        ((3, 200, 7, 7), 3, True, "silu", True),
        ((1, 96, 200, 334), 3, True, "silu", True),
        ((2, 3, 13, 9), 3, True, "silu", False),
        ((2, 192, 25, 42), 3, True, None, False),
        ((2, 96, 50, 84), 3, True, "gelu", False),
        ((1, 64, 11, 13), 5, True, "silu", False),
        ((1, 64, 11, 13), 1, True, "silu", False),
        ((2, 96, 50, 84), 7, True, "silu", False),
        ((1, 200, 11, 13), 7, False, None, True),
    ],
)
def test_on_a_gpu(shape, side, bias, act, sliced, dtype):
    """Within rounding of float64, and bit-equal from run to run."""
    given = make(*shape, side, bias, dtype, "cuda", sliced)
    want = outputs(_plain, *(None if t is None else t.double() for t in given), act)
    got, again = (outputs(depthwise_conv, *given, act) for _ in range(2))
    assert got[0].dtype == dtype
    assert_close(got, want, TOLERANCE[dtype])
    assert all(torch.equal(a, b) for a, b in zip(got, again))


@gpu
def test_autocast_on_a_gpu():
    """The map in half precision and nothing but it kept; parameters and their gradients in full."""
    x, weight, bias, grad = make(2, 96, 50, 84, device="cuda")
    x, weight, bias = (t.requires_grad_() for t in (x, weight, bias))
    with torch.autocast("cuda", torch.bfloat16):
        before = torch.cuda.memory_allocated()
        y = depthwise_conv(x.detach().bfloat16().requires_grad_(), weight, bias, "silu")
        assert torch.cuda.memory_allocated() - before < 2.1 * y.nbytes
        y = depthwise_conv(x, weight, bias, "silu")
    assert y.dtype == torch.bfloat16
    got = torch.autograd.grad(y, (x, weight, bias), grad.bfloat16())
    assert all(g.dtype == torch.float32 for g in got)
    want = outputs(_plain, x, weight, bias, grad, "silu")
    assert_close([y.detach(), *got], want, TOLERANCE[torch.bfloat16])


@gpu
def test_channels_first_on_a_gpu():
    x, weight, bias, grad = make(2, 96, 10, 12, device="cuda")
    assert_close(
        outputs(depthwise_conv, x.contiguous(), weight, bias, grad, "silu"),
        outputs(_plain, x, weight, bias, grad, "silu"),
        1e-3,
    )


@gpu
@pytest.mark.parametrize(("side", "stride"), [(9, 1), (3, 3), (9, 2)])
def test_pytorchs_convolution_on_a_gpu(side, stride):
    x, weight, bias, _ = make(2, 64, 21, 14, side, device="cuda")
    got = depthwise_conv(x, weight, bias, "silu", stride)
    want = by_definition(x.double(), weight.double(), bias.double(), True, stride)
    torch.testing.assert_close(got.double(), want, rtol=1e-3, atol=1e-3)


@gpu
def test_no_compilation_for_a_new_size(monkeypatch):
    import triton

    compiled = []
    outputs(depthwise_conv, *make(2, 96, 40, 40, dtype=torch.bfloat16, device="cuda"), "silu")
    monkeypatch.setattr(
        triton.knobs.runtime,
        "jit_post_compile_hook",
        lambda *args, **kwargs: compiled.append(kwargs),
    )
    for batch, height, width in (
        (1, 1, 1),
        (1, 13, 17),
        (2, 31, 64),
        (3, 100, 101),
        (128, 7, 7),
        (1, 200, 334),
    ):
        outputs(
            depthwise_conv,
            *make(batch, 96, height, width, dtype=torch.bfloat16, device="cuda"),
            True,
        )
    assert not compiled, f"{len(compiled)} kernels were compiled again"
