"""The filter of cosines: against SciPy's transform, lowered, and of other sizes."""

import pytest
import torch
from scipy.fft import dctn, idctn

from mmmamba.layers import CosineMixer
from mmmamba.ops import cosine_filter, stretch_filter


def test_definition():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 5, 7, 3).double(), torch.randn(3, 5, 7).double()
    spectrum = dctn(x.numpy(), axes=(1, 2)) * weight.permute(1, 2, 0).numpy()
    want = torch.from_numpy(idctn(spectrum, axes=(1, 2)))
    torch.testing.assert_close(cosine_filter(x, weight), want)


def test_a_filter_is_stretched_from_end_to_end():
    corners = torch.tensor([[[1.0, 3.0], [5.0, 7.0]]])
    want = torch.tensor([[[1.0, 2.0, 3.0], [3.0, 4.0, 5.0], [5.0, 6.0, 7.0]]])
    torch.testing.assert_close(stretch_filter(corners, 3, 3), want)
    weight = torch.randn(2, 56, 28)
    assert torch.equal(stretch_filter(weight, 56, 28), weight)
    # The mean of a map stays what its weight makes of it.
    assert torch.equal(stretch_filter(weight, 1, 1), weight[:, :1, :1])
    x = torch.ones(1, 9, 4, 2)
    torch.testing.assert_close(cosine_filter(x, weight), x * weight[:, 0, 0])


def test_gradients():
    x, weight = torch.randn(1, 3, 4, 2).double(), torch.randn(2, 2, 3).double()
    assert torch.autograd.gradcheck(cosine_filter, (x.requires_grad_(), weight.requires_grad_()))


@torch.no_grad()
def test_halves_by_turns_and_full_precision_under_autocast():
    torch.manual_seed(0)
    mixer = CosineMixer(6, (4, 5))
    x = torch.randn(2, 4, 5, 6)
    y = mixer(x)
    want = cosine_filter(x[..., 3:], mixer.weight)
    torch.testing.assert_close(y[..., 1::2], want)
    local = mixer.conv(x[..., :3].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    torch.testing.assert_close(y[..., 0::2], local)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mixer(x)[..., 1::2], want.bfloat16())
    with pytest.raises(ValueError, match="7 channels have no halves"):
        CosineMixer(7, (4, 5))
