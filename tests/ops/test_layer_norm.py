"""LayerNorm's kernels against `F.layer_norm`: on a GPU, and small in Triton's interpreter."""

import functools

import pytest
import torch
import torch.nn.functional as F

from mmmamba.layers import LayerNorm, MixerBlock, Mlp, RMSNorm
from mmmamba.ops import add_layer_norm, layer_norm

from .interpreter import DEVICE, ON_GPU, kernels
from .second_order import assert_forward_equal, assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")
TOLERANCE = {torch.float32: 2e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}
SHAPES = [(3, 5, 16), (2, 200, 96), (1, 1, 1), (7, 100), (300, 7), (2, 1100), (0, 4, 12)]


def make(shape, dtype=torch.float32, branch_dtype=None, rms=False):
    """x, branch, weight, bias and gradients for the norm and the sum; RMSNorm has no bias."""
    torch.manual_seed(0)
    C = shape[-1]
    x, branch, grad_y, grad_sum = (
        torch.randn(shape, device=DEVICE) * s + m for s, m in ((2, 3), (1, -1), (1, 0), (1, 0))
    )
    weight, bias = torch.randn(C, device=DEVICE), torch.randn(C, device=DEVICE)
    return (
        x.to(dtype),
        None if branch_dtype is None else branch.to(branch_dtype),
        weight,
        None if rms else bias,
        grad_y,
        grad_sum,
    )


def run(x, branch, weight, bias, grad_y, grad_sum, backend):
    """Outputs, then gradients of all inputs."""
    leaves = [
        None if t is None else t.detach().clone().requires_grad_()
        for t in (x, branch, weight, bias)
    ]
    x, branch, weight, bias = leaves
    if branch is None:
        outputs = (layer_norm(x, weight, bias, backend=backend),)
    else:
        outputs = add_layer_norm(x, branch, weight, bias, backend=backend)
    torch.autograd.backward(outputs, [g.to(y.dtype) for y, g in zip(outputs, (grad_y, grad_sum))])
    return [y.detach() for y in outputs] + [t.grad for t in leaves if t is not None]


def exact(tensors):
    return [None if t is None else t.double() for t in tensors]


def assert_right(tensors, tolerance):
    got, again = run(*tensors, backend="triton"), run(*tensors, backend="triton")
    for a, b, want in zip(got, again, run(*exact(tensors), backend="torch"), strict=True):
        scale = want.abs().amax() if want.numel() else 1.0
        torch.testing.assert_close(
            a.double(), want, rtol=0, atol=float(tolerance * max(scale, 1.0))
        )
        assert torch.equal(a, b), "two runs differ"


@kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_equals_torch(where, shape):
    assert_right(make(shape), TOLERANCE[torch.float32])
    assert_right(make(shape, branch_dtype=torch.float32), TOLERANCE[torch.float32])


@kernels
@pytest.mark.parametrize("shape", SHAPES)
def test_rms_norm_equals_torch(where, shape):
    assert_right(make(shape, rms=True), TOLERANCE[torch.float32])
    assert_right(make(shape, branch_dtype=torch.float32, rms=True), TOLERANCE[torch.float32])


@kernels
@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(where, dtype, rms):
    for x_dtype, branch_dtype in (
        (dtype, None),
        (dtype, dtype),
        (torch.float32, dtype),
        (dtype, torch.float32),
    ):
        tensors = make((5, 9, 24), x_dtype, branch_dtype, rms)
        assert_right(tensors, TOLERANCE[dtype])


@kernels
def test_small_variance_far_from_zero(where):
    x, _, weight, bias, grad_y, _ = make((6, 48))
    assert_right((1000 + x / 100, None, weight, bias, grad_y, None), 2e-2)


@kernels
def test_strided_maps_and_gradients(where):
    x, branch, weight, bias, grad_y, grad_sum = make((2, 6, 5, 16), branch_dtype=torch.float32)
    strided = [t.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1) for t in (x, branch)]
    grads = [g.mean((0, 1, 2)).expand_as(g) for g in (grad_y, grad_sum)]
    want = run(x, branch, weight, bias, *grads, backend="triton")
    for a, b in zip(run(*strided, weight, bias, *grads, backend="triton"), want, strict=True):
        assert torch.equal(a, b)


@kernels
@pytest.mark.parametrize("used", [0, 1])
def test_one_output_used(where, used):
    tensors = make((4, 10), branch_dtype=torch.float32)
    grads = []
    for backend, (x, branch, weight, bias, *g) in (("triton", tensors), ("torch", exact(tensors))):
        leaves = [t.detach().clone().requires_grad_() for t in (x, branch, weight, bias)]
        add_layer_norm(*leaves, backend=backend)[used].backward(g[used])
        grads.append([t.grad for t in leaves])
    for got, want in zip(*grads):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got.double(), want, rtol=0, atol=1e-4)


@kernels
@pytest.mark.parametrize("used", [(0,), (1,), (0, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_x_beside_its_norm(where, dtype, used):
    """Without a branch: gradients of both, whichever are used, and x itself."""
    found = []
    x, _, weight, bias, *g = make((5, 24), dtype)
    for backend, given in (("triton", (x, weight, bias)), ("torch", exact((x, weight, bias)))):
        x, weight, bias = (t.detach().clone().requires_grad_() for t in given)
        outputs = add_layer_norm(x, None, weight, bias, backend=backend)
        assert torch.equal(outputs[1], x)
        grads = [g[i].to(x.dtype) for i in used]
        torch.autograd.backward([outputs[i] for i in used], grads)
        found.append([outputs[0].detach(), x.grad, weight.grad, bias.grad])
    for got, want in zip(*found):
        assert (got is None) == (want is None)
        if got is not None:
            atol = TOLERANCE[dtype] * float(want.abs().max())
            torch.testing.assert_close(got.double(), want, rtol=0, atol=atol)


@kernels
def test_second_derivatives_of_x_beside_its_norm(where):
    def norm(x, weight, bias, backend):
        y, x = add_layer_norm(x, None, weight, bias, backend=backend)
        return torch.cat([y, x.square()])

    x, _, weight, bias, _, _ = make((3, 8))
    calls = [functools.partial(norm, backend=backend) for backend in ("triton", "torch")]
    assert_second_order_equal(*calls, (x, weight, bias))
    assert_forward_equal(*calls, (x, weight, bias))


@kernels
@pytest.mark.parametrize("rms", [False, True])
@pytest.mark.parametrize("branch_dtype", [None, torch.float32, torch.bfloat16])
def test_opcheck(where, branch_dtype, rms):
    x, branch, weight, bias, _, _ = make((3, 2, 8), branch_dtype=branch_dtype, rms=rms)
    tensors = [None if t is None else t.requires_grad_() for t in (x, branch, weight, bias)]
    torch.library.opcheck(torch.ops.mmmamba.layer_norm.default, (*tensors, 1e-5, torch.bfloat16))


@kernels
def test_same_in_a_compiled_graph(where):
    torch._dynamo.reset()

    def norms(x, branch, weight, bias, backend="triton"):
        y, total = add_layer_norm(x, branch, weight, bias, backend=backend)
        return layer_norm(y, weight, bias, backend=backend) + total

    compiled = torch.compile(norms, fullgraph=True, dynamic=True, backend="aot_eager")
    for rows in (5, 12):
        leaves = [t.requires_grad_() for t in make((2, rows, 8), branch_dtype=torch.float32)[:4]]
        grads = [torch.autograd.grad(f(*leaves).square().sum(), leaves) for f in (norms, compiled)]
        assert torch.equal(norms(*leaves), compiled(*leaves))
        for a, b in zip(*grads, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


@kernels
@pytest.mark.parametrize("branch_dtype", [None, torch.float32, torch.bfloat16])
def test_second_derivatives_and_forward_mode(where, branch_dtype):
    x, _, weight, bias, branch, _ = make((3, 8))

    def norm(x, branch, weight, bias, backend):
        if branch_dtype is None:
            return layer_norm(x - branch, weight, bias, backend=backend)
        y, total = add_layer_norm(x, branch.to(branch_dtype), weight, bias, backend=backend)
        return torch.cat([y, total.square()])

    calls = [functools.partial(norm, backend=backend) for backend in ("triton", "torch")]
    tolerance = 2e-2 if branch_dtype == torch.bfloat16 else 1e-4
    assert_second_order_equal(*calls, (x, branch, weight, bias), tolerance)
    assert_forward_equal(*calls, (x, branch, weight, bias), tolerance)


@kernels
def test_second_derivatives_and_forward_mode_of_rms_norm(where):
    def norm(x, branch, weight, backend):
        y, total = add_layer_norm(x, branch, weight, None, backend=backend)
        return torch.cat([y, total.square()])

    x, branch, weight, _, _, _ = make((3, 8), branch_dtype=torch.float32)
    calls = [functools.partial(norm, backend=backend) for backend in ("triton", "torch")]
    assert_second_order_equal(*calls, (x, branch, weight))
    assert_forward_equal(*calls, (x, branch, weight))


@kernels
def test_autocast_rounds_once(where, low_dtype=torch.float16):
    """A linear layer gets autocast's float32 result, rounded as the layer would."""
    x, branch, weight, bias, _, _ = make((50, 96), branch_dtype=low_dtype)
    with torch.autocast(DEVICE, low_dtype):
        plain = layer_norm(x, weight, bias, backend="triton")
        low = layer_norm(x, weight, bias, feeds_linear=True, backend="triton")
        low_of_sum, total = add_layer_norm(
            x, branch, weight, bias, feeds_linear=True, backend="triton"
        )
    assert (
        plain.dtype == total.dtype == torch.float32 and low.dtype == low_of_sum.dtype == low_dtype
    )
    half_unit = torch.finfo(low_dtype).eps / 2
    assert ((low.double() - plain.double()).abs() <= 1.001 * half_unit * plain.abs() + 2e-6).all()
    assert torch.equal(total, x + branch)


@pytest.mark.parametrize("mlp", [True, False])
def test_block_is_what_its_docstring_says(mlp):
    """Norms, sums and gradients of a residual block, whichever way the device's choice takes."""
    torch.manual_seed(0)
    block = MixerBlock(24, torch.nn.Linear(24, 24), Mlp(24) if mlp else None).to(DEVICE)
    torch.nn.init.normal_(block.norm.weight)
    x = torch.randn(2, 5, 7, 24, device=DEVICE, requires_grad=True)
    got = block(x)
    want = x + block.op(F.layer_norm(x, (24,), block.norm.weight, block.norm.bias))
    if mlp:
        want = want + block.mlp(F.layer_norm(want, (24,), block.norm2.weight, block.norm2.bias))
    inputs = [x, *block.parameters()]
    grads = [torch.autograd.grad(y.square().sum(), inputs) for y in (got, want)]
    if DEVICE == "cpu":
        assert torch.equal(got, want)
    for a, b in zip((got, *grads[0]), (want, *grads[1]), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("kind", [LayerNorm, RMSNorm])
def test_layer_is_pytorchs(kind):
    layer, plain = kind(12, feeds_linear=True), getattr(torch.nn, kind.__name__)(12, 1e-5)
    assert isinstance(layer, type(plain))
    assert layer.state_dict().keys() == plain.state_dict().keys()
    x, branch = torch.randn(2, 3, 12)
    torch.nn.init.normal_(layer.weight)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(layer(x), plain(x))
    normed, total = layer(x, branch)
    assert torch.equal(total, x + branch) and torch.equal(normed, plain(total))
    normed, same = layer(x, None)
    assert same is x and torch.equal(normed, plain(x))


def test_errors():
    x, weight = torch.randn(2, 8), torch.ones(8)
    with pytest.raises(ValueError, match=r"weight is \(7,\), but x \(2, 8\) asks for \(8,\)"):
        layer_norm(x, torch.ones(7), weight)
    with pytest.raises(ValueError, match=r"branch \(2, 1\), wanted the same shape"):
        add_layer_norm(x, x[:, :1], weight, weight)
    with pytest.raises(ValueError, match="no backend 'cuda'"):
        layer_norm(x, weight, weight, backend="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA device")
class TestOnGpu:
    @pytest.mark.parametrize("width", [16, 96, 192, 768, 1536, 2048, 8192])
    def test_widths_of_models(self, width):
        assert_right(
            make((2, 33, 21, width), branch_dtype=torch.bfloat16), TOLERANCE[torch.bfloat16]
        )
        assert_right(make((2, 33, 21, width)), TOLERANCE[torch.float32])

    @pytest.mark.parametrize("rows", [50, 50_000])
    def test_maps_take_the_kernels_and_linear_layers_their_dtype(self, rows):
        layer, linear = LayerNorm(96, feeds_linear=True).cuda(), torch.nn.Linear(96, 96).cuda()
        x = torch.randn(rows, 96, device="cuda", requires_grad=True)
        with torch.autocast("cuda", torch.bfloat16):
            y = layer(x)
            torch.testing.assert_close(
                linear(y), linear(F.layer_norm(x, (96,))), rtol=2e-2, atol=2e-2
            )
        assert y.dtype == torch.bfloat16 and type(y.grad_fn).__name__ == "_EagerBackward"

    def test_no_compilation_for_a_new_size(self, monkeypatch):
        import triton

        compiled = []
        run(*make((1, 7, 96), branch_dtype=torch.bfloat16), backend="triton")
        monkeypatch.setattr(
            triton.knobs.runtime,
            "jit_post_compile_hook",
            lambda *args, **kwargs: compiled.append(kwargs),
        )
        for batch, length in ((2, 16), (3, 200), (1, 1), (16, 1000)):
            run(*make((batch, length, 96), branch_dtype=torch.bfloat16), backend="triton")
        assert not compiled, f"{len(compiled)} kernels were compiled again"
        run(*make((1, 7, 80), branch_dtype=torch.bfloat16), backend="triton")
        assert compiled, "the hook sees no compilation: this test could not fail"

    def test_rounds_once_to_bfloat16_too(self):
        test_autocast_rounds_once("gpu", torch.bfloat16)

    def test_whole_block_in_one_graph(self):
        torch._dynamo.reset()
        block = MixerBlock(32, torch.nn.Linear(32, 32), Mlp(32)).cuda()
        compiled = torch.compile(block, fullgraph=True, dynamic=True, backend="aot_eager")
        for length in (5, 12, 30):
            x = torch.randn(2, length, 32, device="cuda", requires_grad=True)
            with torch.autocast("cuda", torch.bfloat16):
                want, got = block(x), compiled(x)
            torch.testing.assert_close(got, want, rtol=2e-2, atol=2e-2)
            got.sum().backward()
