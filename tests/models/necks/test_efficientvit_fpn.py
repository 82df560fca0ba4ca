"""EfficientViTFPN: mmdet's FPN where they agree, and finer levels beside."""

import pytest
import torch
from mmdet.models.necks import FPN
from mmdet.registry import MODELS

from mmmamba.models.necks import EfficientViTFPN

CHANNELS = (12, 20, 28)


def maps(*sides):
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, c, h, w, generator=generator) for c, (h, w) in zip(CHANNELS, sides)]


ODD = ((13, 11), (7, 6), (4, 3))


@pytest.mark.parametrize("extra", [False, True, "on_input", "on_lateral", "on_output"])
def test_without_finer_levels_it_is_mmdets(extra):
    ours = EfficientViTFPN(CHANNELS, 16, num_outs=5, num_extra_trans_convs=0, add_extra_convs=extra)
    theirs = FPN(list(CHANNELS), 16, num_outs=5, add_extra_convs=extra)
    ours.load_state_dict(theirs.state_dict())
    with torch.no_grad():
        for got, want in zip(ours(maps(*ODD)), theirs(maps(*ODD)), strict=True):
            torch.testing.assert_close(got, want)


def test_finer_levels_come_first_and_grow_from_the_finest_lateral():
    neck = EfficientViTFPN(CHANNELS, 16, num_outs=5, num_extra_trans_convs=2)
    seen = {}
    neck.fpn_convs[0].register_forward_hook(
        lambda module, args, output: seen.update(lateral=args[0])
    )
    with torch.no_grad():
        levels = neck(maps(*ODD))
        eight = neck.extra_trans_convs[0](seen["lateral"])
        torch.testing.assert_close(levels[1], neck.extra_fpn_convs[1](eight))
        torch.testing.assert_close(
            levels[0], neck.extra_fpn_convs[0](neck.extra_trans_convs[1](eight))
        )
    assert [tuple(x.shape[2:]) for x in levels] == [(52, 44), (26, 22), (13, 11), (7, 6), (4, 3)]


@pytest.mark.parametrize(
    "finer, extra, parameters",
    [(2, False, 3_738_112), (1, True, 3_918_080)],
    ids=["Mask R-CNN", "RetinaNet"],
)
def test_as_published_for_mobilemamba_b1(finer, extra, parameters):
    """The sizes that leave 38.0 and 27.1 M for the detectors with B1."""
    neck = MODELS.build(
        dict(
            type="EfficientViTFPN",
            in_channels=(200, 376, 448),
            out_channels=256,
            num_outs=5,
            num_extra_trans_convs=finer,
            add_extra_convs=extra,
        )
    )
    assert sum(p.numel() for p in neck.parameters()) == parameters
    levels = neck([torch.randn(1, c, s, s + 1) for c, s in ((200, 8), (376, 4), (448, 2))])
    sides = (32, 16, 8, 4, 2) if finer == 2 else (16, 8, 4, 2, 1)
    assert [x.shape[2] for x in levels] == list(sides)
    sum(x.square().mean() for x in levels).backward()
    assert all(p.grad is not None and p.grad.any() for p in neck.parameters())


def test_wrong_arguments_are_errors():
    with pytest.raises(ValueError, match="num_outs of EfficientViTFPN is 4, wanted at least 3"):
        EfficientViTFPN(CHANNELS, 16, num_outs=4)
    with pytest.raises(ValueError, match="on_input, on_lateral, on_output"):
        EfficientViTFPN(CHANNELS, 16, add_extra_convs="on_inputs")
    with pytest.raises(ValueError, match="got 2 maps, wanted 3"):
        EfficientViTFPN(CHANNELS, 16)(maps(*ODD)[:2])
