"""Grad-CAM through the real heads: two-stage, dense and of a segmentor."""

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmmamba.visualization import Picture, detection_cam, draw_grad_cam, segmentation_cam

CONFIGS = Path(__file__).parents[2] / "configs"
TINY = dict(_delete_=True, type="VMamba", arch=dict(embed_dims=16, depths=(1, 1, 1, 1)))
WIDTHS = [16, 32, 64, 128]
SIZE = (96, 128)
DETECTORS = {
    "mask_rcnn/vmamba_t_1x_coco.py": dict(
        neck=dict(in_channels=WIDTHS),
        roi_head=dict(bbox_head=dict(fc_out_channels=64), mask_head=dict(num_convs=1)),
        test_cfg=dict(rpn=dict(max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=6)),
    ),
    "retinanet/efficientvmamba_t_1x_coco.py": dict(
        neck=dict(in_channels=WIDTHS), test_cfg=dict(score_thr=0.0)
    ),
    "yolo/vmamba_t_yolox_36e_coco.py": dict(
        neck=dict(in_channels=WIDTHS[1:]), test_cfg=dict(score_thr=0.0)
    ),
    "yolo/vmamba_t_dfl_36e_coco.py": dict(
        neck=dict(in_channels=WIDTHS[1:]), test_cfg=dict(score_thr=0.0)
    ),
}


def built(name: str, **changes):
    """A model with a tiny backbone and random weights, an image and the image's sample."""
    cfg = Config.fromfile(CONFIGS / name)
    indices = cfg.model.backbone.get("out_indices", (0, 1, 2, 3))
    cfg.merge_from_dict(dict(model=dict(changes, backbone=dict(TINY, out_indices=indices))))
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
        sample_type = "mmdet" if cfg.default_scope == "mmdet" else "mmseg"
    sizes = dict(
        img_shape=SIZE,
        ori_shape=SIZE,
        batch_input_shape=SIZE,
        pad_shape=SIZE,
        scale_factor=(1.0, 1.0),
    )
    return (
        model,
        torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(0)),
        _sample(sample_type, sizes),
    )


def _sample(library: str, sizes: dict):
    if library == "mmdet":
        from mmdet.structures import DetDataSample as Sample
    else:
        from mmseg.structures import SegDataSample as Sample
    return Sample(metainfo=sizes)


@pytest.mark.parametrize("name", DETECTORS)
def test_a_detection_s_heat_is_its_own(name):
    model, inputs, sample = built(name, **DETECTORS[name])
    with torch.no_grad():
        found = model.predict(inputs, [sample], rescale=False)[0].pred_instances
    best = found.scores.argmax()
    cam = detection_cam(model, inputs, sample)
    assert cam.score == pytest.approx(float(found.scores[best]), rel=1e-5) and cam.label == int(
        found.labels[best]
    )
    for heat_HW in (cam.heat_HW, cam.local_HW):
        assert heat_HW.shape == SIZE and heat_HW.min() >= 0 and torch.isfinite(heat_HW).all()
        assert heat_HW.max() in (0, 1)
    assert cam.heat_HW.any() or cam.local_HW.any()
    assert not any(m._forward_hooks for m in (model.neck, model.backbone))
    assert all(p.grad is None for p in model.parameters())
    deeper = detection_cam(model, inputs, sample, part="backbone")
    assert deeper.box == cam.box and (deeper.heat_HW.any() or deeper.local_HW.any())


def test_in_a_two_stage_detector_only_the_box_s_region_counts():
    """RoIAlign reads the neck's map within the proposal only, so gradients stand nowhere else."""
    model, inputs, sample = built(
        "mask_rcnn/vmamba_t_1x_coco.py", **DETECTORS["mask_rcnn/vmamba_t_1x_coco.py"]
    )
    areas = []
    for n in range(4):
        cam = detection_cam(model, inputs, sample, n)
        x1, y1, x2, y2 = cam.box
        # The map's cells of 4 pixels, interpolation and the box's regression blur the border.
        rows, columns = cam.local_HW.nonzero().unbind(1)
        if len(rows) and (x2 - x1) * (y2 - y1) < 2000:
            areas.append(len(rows))
            assert columns.min() >= x1 - 16 and columns.max() <= x2 + 16
            assert rows.min() >= y1 - 16 and rows.max() <= y2 + 16
    assert areas, "no small detection to look at"


def test_detections_are_counted_by_score_and_class():
    model, inputs, sample = built(
        "retinanet/efficientvmamba_t_1x_coco.py",
        **DETECTORS["retinanet/efficientvmamba_t_1x_coco.py"],
    )
    cams = [detection_cam(model, inputs, sample, n) for n in range(3)]
    assert cams[0].score >= cams[1].score >= cams[2].score
    label = cams[2].label
    of_class = detection_cam(model, inputs, sample, 0, label)
    assert of_class.label == label and of_class.score >= cams[2].score
    with pytest.raises(ValueError, match="there is no detection 5000"):
        detection_cam(model, inputs, sample, 5000)
    with pytest.raises(ValueError, match="finds 0 objects of class 700"):
        detection_cam(model, inputs, sample, 0, 700)
    with pytest.raises(ValueError, match="RetinaNet has no nose.*neck, backbone"):
        detection_cam(model, inputs, sample, part="nose")


def test_a_segmentor_s_class(tmp_path):
    model, inputs, sample = built(
        "upernet/vmamba_t_160k_ade20k-512x512.py",
        decode_head=dict(in_channels=WIDTHS, channels=16),
        auxiliary_head=dict(in_channels=64, channels=16),
    )
    with torch.no_grad():
        labels = model.encode_decode(inputs, [sample.metainfo]).argmax(1)[0]
    cam = segmentation_cam(model, inputs, sample)
    assert torch.equal(cam.region_HW, labels == cam.label) and cam.score == pytest.approx(
        float((labels == cam.label).float().mean())
    )
    assert cam.heat_HW.shape == SIZE and cam.heat_HW.max() == 1
    rarest = int(labels.unique()[labels.flatten().bincount()[labels.unique()].argmin()])
    assert torch.equal(segmentation_cam(model, inputs, sample, rarest).region_HW, labels == rarest)
    missing = next(i for i in range(150) if i not in labels.unique().tolist())
    with pytest.raises(ValueError, match=f"sees class {missing} nowhere"):
        segmentation_cam(model, inputs, sample, missing)
    figure = draw_grad_cam(
        cam, Picture(np.zeros((*SIZE, 3), np.uint8)), "sky", tmp_path / "cam.png"
    )
    assert (
        figure.axes[0].get_title().startswith("sky, ")
        and (tmp_path / "cam.png").stat().st_size > 10_000
    )
