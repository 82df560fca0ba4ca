"""MobileMamba's fused form, its start and its split of the channels."""

import copy

import pytest
import torch
from torch import nn

import mmmamba
from mmmamba.checkpoints import CheckpointError
from mmmamba.models.backbones.mobile_mamba import MobileMamba, split_channels
from tests.parity import recipe


def settled(model: MobileMamba) -> MobileMamba:
    """With weights and running statistics as after training, so that nothing cancels."""
    shapes = {
        name: list(value.shape)
        for name, value in model.state_dict().items()
        if value.is_floating_point()
    }
    weights = {name: torch.from_numpy(value) for name, value in recipe.weights(shapes).items()}
    model.load_state_dict(weights, strict=False)
    return model.eval()


def image(size=(97, 131), batch=2, dtype=torch.float32):
    return torch.randn(batch, 3, *size, generator=torch.Generator().manual_seed(1), dtype=dtype)


@pytest.mark.parametrize("classifier", [False, True])
def test_fused_equals_unfused(classifier):
    model = settled(MobileMamba(**MobileMamba.TINY, classifier=classifier, num_classes=9)).double()
    fused = model.fuse()
    assert not [m for m in fused.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
    with torch.no_grad():
        got, want = fused(image(dtype=torch.float64)), model(image(dtype=torch.float64))
    for a, b in zip(*((x,) if classifier else x for x in (got, want))):
        assert (a - b).abs().max() <= 1e-9 * b.std()


def test_fused_equals_unfused_in_single_precision():
    model = settled(mmmamba.create_backbone("mobilemamba_s6"))
    with torch.no_grad():
        for a, b in zip(model.fuse()(image((200, 168))), model(image((200, 168)))):
            assert (a - b).abs().max() <= 1e-4 * b.std()


def test_fusing_leaves_the_model_alone():
    model = MobileMamba(**MobileMamba.TINY).train()
    before = copy.deepcopy(model.state_dict())
    model.fuse()
    assert model.training and all(
        torch.equal(value, before[name]) for name, value in model.state_dict().items()
    )


def test_a_fused_model_says_what_it_cannot_do():
    fused = MobileMamba(**MobileMamba.TINY).fuse()
    with pytest.raises(RuntimeError, match="fused already"):
        fused.fuse()
    with pytest.raises(RuntimeError, match="train the model that"):
        fused.train()
    with pytest.raises(CheckpointError, match="before fuse"):
        fused.load_weights({})
    assert fused.eval() is fused


def test_fused_state_goes_into_another_fused_model():
    model = settled(MobileMamba(**MobileMamba.TINY)).fuse()
    other = MobileMamba(**MobileMamba.TINY).fuse()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert all(torch.equal(a, b) for a, b in zip(other(image()), model(image())))


def test_a_fresh_block_doubles_its_input():
    block = mmmamba.create_backbone("mobilemamba_t2").eval().layers[0].blocks[0]
    x = torch.randn(2, 5, 6, 144)
    with torch.no_grad():
        torch.testing.assert_close(block(x), 2 * x)


def test_filters_are_saved_and_not_trained():
    model = MobileMamba(**MobileMamba.TINY)
    filters = [name for name in model.state_dict() if name.endswith("_filter")]
    assert len(filters) == 6 and not set(filters) & {name for name, _ in model.named_parameters()}


@pytest.mark.parametrize(
    "dim, shares, split",
    [
        (144, (0.8, 0.2), (112, 28, 4)),
        (272, (0.7, 0.2), (192, 54, 26)),
        (368, (0.6, 0.3), (224, 110, 34)),
        (176, (0.8, 0.2), (144, 32, 0)),
        (376, (0.7, 0.2), (256, 75, 45)),
        (448, (0.6, 0.3), (272, 134, 42)),
    ],
)
def test_channels_split_as_published(dim, shares, split):
    assert split_channels(dim, *shares) == split


def test_too_few_channels_are_an_error():
    with pytest.raises(ValueError, match="leave 16 to scan and 0 to convolve"):
        split_channels(16, 0.8, 0.2)
