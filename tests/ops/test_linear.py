"""Linear layers and heads that go back in few passes."""

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import gradcheck, gradgradcheck

from mmmamba.layers import Attention
from mmmamba.ops import aligned
from mmmamba.ops import linear as module


def assert_near(got, want):
    """As near as bfloat16 comes."""
    atol = 2e-2 * float(want.detach().abs().max())
    torch.testing.assert_close(got.to(want.dtype), want, rtol=2e-2, atol=atol)


@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2,)])
def test_linear(frozen):
    leaves = [torch.randn(shape).double() for shape in ((2, 3, 5), (4, 5), (4,))]
    wanted = [x.requires_grad_() for i, x in enumerate(leaves) if i not in frozen]
    got, want = module._Linear.apply(*leaves), F.linear(*leaves)
    assert torch.equal(got, want)
    g = torch.randn_like(want)
    for a, b in zip(torch.autograd.grad(got, wanted, g), torch.autograd.grad(want, wanted, g)):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize(("K", "N"), [(12, 10), (16, 10), (12, 16)])
@pytest.mark.parametrize("bias", [False, True])
def test_widths_that_are_no_multiple_of_eight(monkeypatch, K, N, bias):
    """As on a GPU: padded products, in half precision and of many rows alone."""
    monkeypatch.setattr(aligned, "unwatched", lambda x: True)
    monkeypatch.setattr(module, "unwatched", lambda x: True)
    padded = []
    monkeypatch.setattr(aligned.F, "pad", lambda *a, pad=F.pad: padded.append(a) or pad(*a))
    torch.manual_seed(0)
    for rows, dtype, pads in ((4096, torch.bfloat16, True), (64, torch.bfloat16, False)):
        shapes = ((2, rows // 2, K), (N, K), (N,))[: 2 + bias]
        leaves = [torch.randn(s).to(dtype).requires_grad_() for s in shapes]
        padded.clear()
        y = module.linear(*leaves)
        g = torch.randn_like(y)
        got = [y, *torch.autograd.grad(y, leaves, g)]
        assert bool(padded) == pads and y.is_contiguous()
        full = [x.detach().float().requires_grad_() for x in leaves]
        y = F.linear(*full)
        for a, b in zip(got, [y, *torch.autograd.grad(y, full, g.float())], strict=True):
            assert a.shape == b.shape and a.dtype == dtype
            torch.testing.assert_close(
                a.float(), b, rtol=2e-2, atol=2e-2 * float(b.detach().abs().max())
            )


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("K", "N"), [(348, 1392), (1392, 348), (348, 348), (96, 98)])
def test_odd_widths_on_a_gpu(K, N, dtype):
    torch.manual_seed(0)
    leaves = [torch.randn(s, device="cuda").requires_grad_() for s in ((2, 5000, K), (N, K), (N,))]
    y = F.linear(*leaves)
    g = torch.randn_like(y)
    want = [y, *torch.autograd.grad(y, leaves, g)]
    with torch.autocast("cuda", dtype):
        y = module.linear(*leaves)
    assert y.dtype == dtype and y.is_contiguous()
    for a, b in zip([y, *torch.autograd.grad(y, leaves, g.to(dtype))], want, strict=True):
        torch.testing.assert_close(
            a.float(), b, rtol=2e-2, atol=2e-2 * float(b.detach().abs().max())
        )


def test_heads():
    x = torch.randn(2, 5, 3 * 2 * 4, dtype=torch.float64, requires_grad=True)
    found = []
    for split in (module._SplitHeads.apply, module._views):
        q, k, v = split(x, 2)
        y = (q @ k.transpose(-1, -2)).sin() @ v
        found.append([q, k, v, *torch.autograd.grad(y.square().sum(), x)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b)


def test_differentiated_again_and_in_batches():
    def attention(x, weight, bias):
        q, k, v = module._SplitHeads.apply(module._Linear.apply(x, weight, bias), 2)
        return (q @ k.transpose(-1, -2)).sin() @ v

    leaves = [torch.randn(s).double().requires_grad_() for s in ((1, 2, 3), (12, 3), (12,))]
    assert gradcheck(attention, leaves, check_batched_grad=True)
    assert gradgradcheck(attention, leaves, fast_mode=True)


def test_hooks_see_the_layers_of_an_attention():
    attention, seen = Attention(8, 2), []
    for layer in (attention.qkv, attention.proj):
        layer.register_forward_hook(lambda module, given, y: seen.append(module))
    attention(torch.randn(1, 3, 8))
    assert seen == [attention.qkv, attention.proj]


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_on_a_gpu(dtype):
    torch.manual_seed(0)
    attention = Attention(64, 4).cuda()
    x = torch.randn(8, 2500, 64, device="cuda", requires_grad=True)
    found = []
    for looked_at in (False, True):
        handles = [m.register_forward_hook(lambda *_: None) for m in attention.modules()]
        for handle in handles:
            if not looked_at:
                handle.remove()
        with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
            y = attention(x)
        found.append([y, *torch.autograd.grad(y.float().sin().sum(), [x, *attention.parameters()])])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype
        torch.testing.assert_close(a, b, rtol=2e-2, atol=2e-2 * float(b.detach().abs().max()))
