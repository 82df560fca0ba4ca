"""VMamba's branch as one step of autograd equals its parts, bit for bit."""

import importlib

import pytest
import torch

from mmmamba.layers import SS2D
from mmmamba.ops import depthwise_conv, layer_norm, projected_scan, route_table
from mmmamba.ops.scan_branch import ScanBranch, scan_branch
from mmmamba.ops.selective_scan.joined import Separate, join, joined, plain_join

from .interpreter import inside
from .second_order import assert_second_order_equal

pytestmark = pytest.mark.usefixtures("poisoned_memory")
slow = pytest.mark.slow
pytest.importorskip("triton")

ROUTES = ("row", "column_reversed")
H, W, D, N, R = 2, 3, 8, 1, 3


@pytest.fixture
def kernels(monkeypatch):
    """Each part runs its kernels, as on a GPU that nobody watches."""
    monkeypatch.setenv("MMMAMBA_SCAN_BACKEND", "triton")
    for name in ("depthwise_conv", "layer_norm", "scan_branch"):
        module = importlib.import_module(f"mmmamba.ops.{name}")
        for attribute in ("unwatched", "kernels_take", "conv_takes", "norm_takes"):
            if hasattr(module, attribute):
                monkeypatch.setattr(module, attribute, lambda *args: True)
    s6, ss2d = (importlib.import_module(f"mmmamba.layers.mixers.{n}") for n in ("s6", "ss2d"))
    for module in (s6, ss2d):
        monkeypatch.setattr(module, "scan_projects", lambda x, rank: True)


def separate(d_state=N, dtype=torch.float64) -> Separate:
    torch.manual_seed(0)
    routes = len(ROUTES)
    return Separate(
        torch.randn(routes, R + 2 * d_state, D, dtype=dtype),
        torch.randn(routes, D, R, dtype=dtype),
        torch.randn(routes * D, d_state, dtype=dtype),
    )


def make(d_state=N, bias=True, sliced=False) -> ScanBranch:
    parts = separate(d_state, dtype=torch.float32)
    K = len(ROUTES)
    x = torch.randn(1, H, W, 2 * D)
    return ScanBranch(
        x[..., :D] if sliced else x[..., :D].contiguous(),
        torch.randn(D, 1, 3, 3),
        torch.randn(D) if bias else None,
        parts.x_proj_KME * 0.3,
        parts.dt_proj_KER * 0.3,
        torch.randn(K, D),
        parts.A_log,
        torch.randn(K * D),
        torch.rand(D) + 0.5,
        torch.randn(D),
    )


def in_parts(given: ScanBranch, feeds_linear: bool = True) -> torch.Tensor:
    x = given.x_BHWD.permute(0, 3, 1, 2)
    local = depthwise_conv(x, given.conv_weight, given.conv_bias, act="silu")
    parts = Separate(given.x_proj_KMD, given.dt_proj_KDR, given.A_log)
    low = torch.bfloat16 if torch.is_autocast_enabled("cpu") else x.dtype
    y = projected_scan(
        local.flatten(2).transpose(1, 2),
        *plain_join(parts, low),
        given.D.view(given.dt_bias_KD.shape),
        index=route_table(ROUTES, H, W),
        delta_bias=given.dt_bias_KD,
        index_complete=True,
    )
    weights = given.norm_weight, given.norm_bias
    y = layer_norm(y, *weights, feeds_linear=feeds_linear, backend="triton")
    return y.unflatten(1, (H, W))


def at_once(given: ScanBranch, feeds_linear: bool = True) -> torch.Tensor:
    scan_dtype = torch.bfloat16 if torch.is_autocast_enabled("cpu") else given.x_BHWD.dtype
    table = route_table(ROUTES, H, W)
    return scan_branch(given, table, True, scan_dtype, 1e-5, feeds_linear)


def outputs(function, given: ScanBranch, low: bool = False, **options) -> list[torch.Tensor]:
    """The output, with `low` under autocast, then the gradients."""
    leaves = [None if x is None else x.clone().requires_grad_() for x in given]
    with torch.autocast("cpu", torch.bfloat16, enabled=low):
        y = function(ScanBranch(*leaves), **options)
    grad = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(y.dtype)
    wanted = [leaf for leaf in leaves if leaf is not None]
    return [y.detach(), *torch.autograd.grad(y, wanted, grad)]


@inside
@pytest.mark.parametrize(
    ("d_state", "bias", "sliced"),
    [
        (1, False, True),
        *(pytest.param(*x, marks=slow) for x in ((1, True, False), (2, True, True))),
    ],
)
def test_equals_its_parts(kernels, d_state, bias, sliced):
    given = make(d_state, bias, sliced)
    for got, want in zip(outputs(at_once, given), outputs(in_parts, given), strict=True):
        assert torch.equal(got, want)


@inside
@pytest.mark.parametrize("feeds_linear", [True, pytest.param(False, marks=slow)])
def test_under_autocast(kernels, feeds_linear):
    given = make()
    options = dict(low=True, feeds_linear=feeds_linear)
    found = outputs(at_once, given, **options), outputs(in_parts, given, **options)
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)


@inside
def test_a_model_cast_to_half(kernels):
    given = ScanBranch(*[None if x is None else x.bfloat16() for x in make()])
    found = outputs(at_once, given), outputs(in_parts, given)
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)


@inside
@pytest.mark.slow
def test_a_batch_in_parts(kernels, monkeypatch):
    given = make()
    given = given._replace(
        x_BHWD=given.x_BHWD.repeat(3, 1, 1, 1) + torch.arange(3.0).view(3, 1, 1, 1)
    )
    want = outputs(in_parts, given)
    projected = importlib.import_module("mmmamba.ops.selective_scan.projected")
    monkeypatch.setattr(projected, "AT_ONCE", 1)
    for got, wanted in zip(outputs(at_once, given), want, strict=True):
        torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)


@inside
def test_second_derivatives(kernels):
    assert_second_order_equal(
        lambda *x: at_once(ScanBranch(*x)), lambda *x: in_parts(ScanBranch(*x)), make(), 1e-3
    )


@inside
@pytest.mark.parametrize("gate", [False, True])
def test_a_mixer_takes_it_unless_somebody_looks_inside(kernels, gate):
    torch.manual_seed(0)
    mixer = SS2D(4, routes=ROUTES, gate=gate)
    x = torch.randn(1, H, W, 4)
    assert mixer._is_plain()
    y = mixer(x)
    seen = []
    handle = mixer.conv2d.register_forward_hook(lambda module, args, out: seen.append(out))
    assert not mixer._is_plain()
    torch.testing.assert_close(mixer(x), y)
    assert len(seen) == 1
    handle.remove()
    assert mixer._is_plain()
    torch.nn.utils.parametrize.register_parametrization(
        mixer.out_norm, "weight", torch.nn.Identity()
    )
    assert not mixer._is_plain()


@pytest.mark.parametrize("d_state", [1, 3])
def test_joined_parameters_are_those_of_the_definition(d_state):
    given = separate(d_state)
    K = len(ROUTES)
    weight, A = joined(given)
    steps, B, C = given.x_proj_KME.split((R, d_state, d_state), 1)
    want = [given.dt_proj_KER @ steps, B, C]
    torch.testing.assert_close(weight, torch.cat([x.flatten(0, 1) for x in want]))
    torch.testing.assert_close(A, -given.A_log.exp().view(K, D, d_state))
    leaves = [x.requires_grad_() for x in given]
    assert torch.autograd.gradcheck(lambda *x: tuple(joined(Separate(*x))), leaves)
    assert torch.autograd.gradgradcheck(lambda *x: tuple(joined(Separate(*x))), leaves)


@pytest.mark.parametrize("low", [None, torch.bfloat16])
def test_joined_gradients_equal_autograds(low):
    """Bit for bit, of a weight that autocast has rounded too."""
    given = separate(dtype=torch.float32)
    found = []
    for make_joined in (joined, plain_join):
        leaves = [x.clone().requires_grad_() for x in given]
        made = make_joined(Separate(*leaves), low)
        generator = torch.Generator().manual_seed(1)
        grads = [torch.randn(x.shape, generator=generator).to(x.dtype) for x in made]
        found.append([*made, *torch.autograd.grad(list(made), leaves, grads)])
    for got, want in zip(*found, strict=True):
        assert torch.equal(got, want)
    assert torch.equal(join(given, low).weight, found[0][0])


@pytest.mark.gpu
@pytest.mark.parametrize("gate", [False, True])
@pytest.mark.parametrize("low", [None, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("d_state", [1, 4])
def test_on_a_gpu(monkeypatch, d_state, low, gate):
    """A mixer that takes it, and one whose parts run one by one, bit for bit."""
    torch.manual_seed(0)
    mixer = SS2D(32, d_state=d_state, gate=gate).cuda()
    x = torch.randn(2, 14, 9, 32, device="cuda")
    found = []
    for plain in (True, False):
        monkeypatch.setattr(SS2D, "_is_plain", lambda self, plain=plain: plain)
        leaves = [x.clone().requires_grad_(), *mixer.parameters()]
        with torch.autocast("cuda", low, enabled=low is not None):
            y = mixer(leaves[0])
        grads = torch.autograd.grad(y.float().square().sum(), leaves)
        with torch.no_grad(), torch.autocast("cuda", low, enabled=low is not None):
            inferred = mixer(x)
        found.append([y.detach(), inferred, *grads])
    for got, want in zip(*found, strict=True):
        assert got.dtype == want.dtype
        assert torch.equal(got, want)
