"""`--deterministic` gives the same numbers twice on a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from mmmamba.compat import compiled_extension
from mmmamba.compat.ext.roi_align import log_once
from mmmamba.engine.reliability.deterministic import MatrixAvgPool2d

from ..tiny_models import on_shapes, witnessed
from ..tiny_runs import Witness, differences, last, train


@pytest.mark.parametrize("size", [1, 2, 3, (6, None), (5, 4)])
def test_pooling_by_matrices_is_adaptive_pooling(size: int | tuple) -> None:
    x = torch.randn(2, 3, 7, 10, dtype=torch.float64)
    torch.testing.assert_close(MatrixAvgPool2d(size)(x), torch.nn.AdaptiveAvgPool2d(size)(x))


@pytest.mark.skipif(compiled_extension() is not None, reason="mmcv has its compiled operators")
def test_regions_are_pooled_by_ours(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """torchvision would compile its own for minutes on a GPU."""
    cfg = on_shapes("mask_rcnn/vmamba_t_1x_coco", tmp_path, images=2, size=64, iterations=1)
    log_once.cache_clear()
    with caplog.at_level("INFO", "mmmamba"):
        assert train(cfg, "--deterministic") == 0
    assert "RoIAlign's gradients are computed as matrix products" in caplog.text


@pytest.mark.gpu
@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/vmamba_t_1x_coco",
        "cascade_mask_rcnn/mambavision_t_3x_coco",
        "retinanet/efficientvmamba_t_1x_coco",
        "yolo/vmamba_t_yolox_36e_coco",
        "yolo/vmamba_t_rtmdet_36e_coco",
        "mamba_yolo/mamba_yolo_t_300e_coco",
        "upernet/vmamba_t_160k_ade20k-512x512",
        "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512",
    ],
)
def test_two_runs_on_a_gpu_are_equal(tmp_path: Path, name: str) -> None:
    runs = []
    for _ in range(2):
        cfg = on_shapes(name, tmp_path, images=8, size=128, iterations=10)
        witnessed(cfg, tmp_path)
        Witness.watch()
        assert train(cfg, "--deterministic") == 0
        runs.append((Witness.seen, last(cfg)))
    assert runs[0][0] == runs[1][0]
    assert differences(runs[0][1], runs[1][1]) == []
