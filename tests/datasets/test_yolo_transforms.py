"""The transforms of YOLO recipes: where pixels and boxes go."""

import numpy as np
import pytest
import torch
from mmdet.structures.bbox import HorizontalBoxes

from mmmamba.datasets.transforms import CenteredRandomAffine, HSVGain, Letterbox


def sample(height: int, width: int, *boxes: list[float]) -> dict:
    image = np.zeros((height, width, 3), dtype=np.uint8)
    return dict(
        img=image,
        img_shape=(height, width),
        ori_shape=(height, width),
        gt_bboxes=HorizontalBoxes(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)),
        gt_bboxes_labels=np.arange(len(boxes)),
        gt_ignore_flags=np.zeros(len(boxes), dtype=bool),
    )


# Image, padded image, and (top, bottom, left, right), as the fact sheet has them.
RECTANGLES = [
    ((480, 640), (512, 672), (16, 16, 16, 16)),
    ((427, 640), (448, 672), (10, 11, 16, 16)),
    ((333, 500), (448, 672), (10, 11, 16, 16)),
    ((500, 375), (672, 512), (16, 16, 16, 16)),
    ((100, 80), (672, 544), (16, 16, 16, 16)),
    ((640, 640), (672, 672), (16, 16, 16, 16)),
]


@pytest.mark.parametrize(("size", "padded", "pad"), RECTANGLES)
def test_letterbox_in_a_rectangle(size, padded, pad):
    got = Letterbox(640, rect=True).transform(sample(*size))
    assert got["img"].shape[:2] == got["img_shape"] == padded and got["pad_param"] == pad


def test_letterbox_in_a_square_moves_image_and_boxes_alike():
    got = Letterbox(640).transform(sample(427, 640, [0, 0, 640, 427]))
    assert got["pad_param"] == (106, 107, 0, 0) and got["img_shape"] == (640, 640)
    assert got["gt_bboxes"].tensor.tolist() == [[0, 106, 640, 533]]
    assert (
        (got["img"][:106] == 114).all()
        and (got["img"][533:] == 114).all()
        and (got["img"][106:533] == 0).all()
    )
    got = Letterbox(64).transform(sample(100, 200, [20, 10, 100, 60]))
    torch.testing.assert_close(got["gt_bboxes"].tensor, torch.tensor([[6.4, 19.2, 32.0, 35.2]]))


def affine(monkeypatch, draw, *boxes, size=(64, 64)):
    transform = CenteredRandomAffine(size=size)
    monkeypatch.setattr(transform, "_draw", lambda: draw)
    return transform.transform(sample(128, 128, *boxes))


def test_affine_scales_about_the_centre(monkeypatch):
    """The image's centre comes to the middle of the smaller output, whatever the scale."""
    got = affine(monkeypatch, (0.5, 0.5, 0.5), [32, 48, 96, 80])
    assert got["img"].shape[:2] == (64, 64)
    torch.testing.assert_close(got["gt_bboxes"].tensor, torch.tensor([[16.0, 24, 48, 40]]))
    got = affine(monkeypatch, (1.0, 0.6, 0.4), [60, 60, 68, 68])
    torch.testing.assert_close(got["gt_bboxes"].tensor, torch.tensor([[34.4, 21.6, 42.4, 29.6]]))


def test_affine_drops_what_hardly_remains(monkeypatch):
    """Whole boxes are kept.

    Dropped are those of which a twentieth is left, thinner than two pixels, or a hundred times as
    long as wide.
    """
    got = affine(
        monkeypatch,
        (1.0, 0.5, 0.5),
        [40, 40, 60, 60],
        [0, 40, 33.6, 80],
        [40, 40, 41.5, 60],
        [32, 50, 96, 50.5],
    )
    assert (
        got["gt_bboxes_labels"].tolist() == [0]
        and len(got["gt_bboxes"]) == len(got["gt_ignore_flags"]) == 1
    )
    got = affine(monkeypatch, (1.0, 0.5, 0.5))
    assert len(got["gt_bboxes"]) == 0


def test_affine_refuses_masks():
    with pytest.raises(ValueError, match="moves boxes, not masks"):
        CenteredRandomAffine().transform(sample(8, 8) | dict(gt_masks=[]))


def test_affine_draws_within_its_bounds():
    transform = CenteredRandomAffine(max_translate_ratio=0.1, scaling_ratio_range=(0.5, 1.5))
    scale, x, y = np.array([transform._draw() for _ in range(400)]).T
    assert 0.5 <= scale.min() < 0.55 and 1.45 < scale.max() <= 1.5
    for centre in (x, y):
        assert 0.4 <= centre.min() < 0.41 and 0.59 < centre.max() <= 0.6


def test_hsv_gain_is_a_factor():
    """A grey pixel has no saturation to change; its value is multiplied, within the gain."""
    got = {
        int(
            HSVGain(value=0.4).transform(dict(img=np.full((2, 2, 3), 100, dtype=np.uint8)))["img"][
                0, 0, 0
            ]
        )
        for _ in range(200)
    }
    assert 60 <= min(got) < 70 and 130 < max(got) <= 140
    same = HSVGain(0.0, 0.0, 0.0).transform(dict(img=np.full((2, 2, 3), 77, dtype=np.uint8)))["img"]
    assert (same == 77).all()
