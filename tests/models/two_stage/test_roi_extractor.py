"""Features of regions are mmdet's.

Under autocast they are those of the regions themselves, not of rounded ones.
"""

import pytest
import torch

import mmmamba  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.roi_heads.roi_extractors import SingleRoIExtractor

from mmmamba.models.two_stage.roi_extractor import SortedRoIExtractor

ARGUMENTS = dict(out_channels=3, featmap_strides=[4, 8, 16])


def extractors() -> tuple[SingleRoIExtractor, SortedRoIExtractor]:
    layer = dict(type="RoIAlign", output_size=7, sampling_ratio=0)
    return (
        SingleRoIExtractor(roi_layer=layer, **ARGUMENTS),
        SortedRoIExtractor(roi_layer=dict(layer, use_torchvision=True), **ARGUMENTS),
    )


def maps(size: int) -> tuple[torch.Tensor, ...]:
    torch.manual_seed(0)
    return tuple(
        torch.randn(2, 3, size // stride, size // stride) for stride in ARGUMENTS["featmap_strides"]
    )


def regions(count: int, size: int) -> torch.Tensor:
    corner = torch.rand(count, 2) * size * 0.6
    far = corner + torch.rand(count, 2) * size * 0.4
    return torch.cat([torch.randint(0, 2, (count, 1)), corner, far], dim=1)


@pytest.mark.parametrize("scale", [None, 1.5])
@pytest.mark.parametrize(("count", "size"), [(40, 512), (5, 64), (0, 64)])
def test_features_and_gradients(count, size, scale):
    """Features of regions on all levels, on the first only, and of no region."""
    rois = regions(count, size)
    found = []
    for extractor in extractors():
        feats = [level.double().requires_grad_() for level in maps(size)]
        out = extractor(feats, rois, scale)
        out.square().sum().backward()
        found.append((out, *(level.grad for level in feats)))
    for wanted, got in zip(*found):
        torch.testing.assert_close(got, wanted)


def test_regions_keep_their_place_under_autocast():
    rois, feats = regions(40, 1024), maps(1024)
    theirs, ours = extractors()
    wanted = theirs(feats, rois)
    half = [level.bfloat16() for level in feats]
    with torch.autocast("cpu", torch.bfloat16):
        near, far = ((extractor(half, rois) - wanted).abs().max() for extractor in (ours, theirs))
    assert near < 0.02 and far > 10 * near


@pytest.mark.gpu
@pytest.mark.parametrize("scale", [None, 1.5])
def test_one_kernel_on_a_gpu(scale):
    """In float32, which the kernel takes, and without a look at how many are on which level."""
    rois, found = regions(200, 512).cuda(), []
    for extractor in extractors():
        feats = [level.cuda().requires_grad_() for level in maps(512)]
        ours = isinstance(extractor, SortedRoIExtractor)
        torch.cuda.set_sync_debug_mode("error" if ours else "default")
        try:
            out = extractor(feats, rois, scale)
            out.square().sum().backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        found.append((out, *(level.grad for level in feats)))
    for wanted, got in zip(*found):
        torch.testing.assert_close(got, wanted, atol=1e-4, rtol=1e-4)
