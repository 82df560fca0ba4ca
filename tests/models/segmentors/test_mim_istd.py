"""MiM-ISTD as a whole, tiny: it learns, predicts at any size, and leaves Python."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from torch import nn

import mmmamba.segmentation  # noqa: F401  (registers it)
from mmmamba.acceleration.graphs import graph_model
from mmmamba.datasets.targets import draw_targets
from mmmamba.evaluation.small_targets import SmallTargetMetric
from mmmamba.exporting.graphs import graph_of
from mmmamba.exporting.tracing import trace
from mmmamba.models.segmentors.mim_istd.backbone import MiMISTDBackbone

from ...configs.conftest import CONFIGS
from ...exporting.graphs.cases import onnx_file, run_onnx


def tiny(size: int = 64, **backbone) -> nn.Module:
    """The config's network with a tiny encoder, seeded."""
    torch.manual_seed(0)
    cfg = Config.fromfile(CONFIGS / "mim_istd/mim_istd_irstd-1k-512x512.py").model
    cfg.data_preprocessor.size = (size, size)
    cfg.backbone = dict(type="MiMISTDBackbone", **MiMISTDBackbone.TINY, **backbone)
    cfg.decode_head.update(in_channels=[8, 16, 32, 64], norm_cfg=dict(type="BN"))
    init_default_scope("mmseg")
    return MODELS.build(cfg)


def batch(count: int, size: int = 64) -> dict:
    """Drawn images with one or two targets each."""
    rng = np.random.default_rng(0)
    inputs, samples = [], []
    for i in range(count):
        image_HW, mask_HW = draw_targets(rng, size, 1 + i % 2)
        inputs.append(torch.from_numpy(image_HW).expand(3, -1, -1))
        label = PixelData(data=torch.from_numpy(mask_HW).long()[None])
        metainfo = dict(img_shape=(size, size), ori_shape=(size, size))
        samples.append(SegDataSample(gt_sem_seg=label, metainfo=metainfo))
    return dict(inputs=inputs, data_samples=samples)


def test_a_training_step_says_what_it_means() -> None:
    model = tiny().train()
    losses = model(**model.data_preprocessor(batch(2), True), mode="loss")
    # mmseg's accuracy of one channel would be the share of the background.
    assert set(losses) == {"decode.loss_ce", "decode.loss_lovasz"}
    sum(losses.values()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None]
    assert not idle


def test_prediction_at_an_odd_size() -> None:
    model = tiny().eval()
    image = torch.randn(1, 3, 50, 71)
    with torch.no_grad():
        (found,) = model(image, mode="predict")
        maps = model.extract_feat(image)
    assert [tuple(m.shape[2:]) for m in maps] == [(13, 18), (7, 9), (4, 5), (2, 3)]
    assert found.pred_sem_seg.data.shape == (1, 50, 71)
    assert set(found.pred_sem_seg.data.unique().tolist()) <= {0, 1}


def test_widths_that_do_not_double() -> None:
    with pytest.raises(ValueError, match="twice as wide"):
        MODELS.build(dict(type="MiMISTDHead", in_channels=[8, 16, 16], num_classes=2))


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True], ids=["proper", "published"])
def test_an_onnx_file_gives_the_same(published: bool) -> None:
    model = tiny(maps_as_published=published).eval()
    graph = graph_of(model, logits=True)
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        (wanted,) = graph(image)
    (found,) = run_onnx(onnx_file(graph, trace(graph, [image], dynamic=False)), image)
    assert (torch.from_numpy(found) - wanted).abs().max() < 1e-4 * wanted.std()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("published", [False, True], ids=["proper", "published"])
def test_a_gpu_computes_and_replays_the_same(published: bool) -> None:
    found = []
    for device, graphs in (("cpu", False), ("cuda", False), ("cuda", True)):
        model = tiny(maps_as_published=published).to(device).train()
        model.decode_head.dropout = None
        images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(0)).to(device)
        if graphs:
            model = graph_model(model, 1)
        # So small a network makes 1e-4 of a rounding of 1e-6, and 1e-2 of it in its gradients:
        # without TF32, and the gradients are compared on one device.
        with torch.backends.cudnn.flags(allow_tf32=False):
            for _ in range(2):
                model.zero_grad()
                logits = model.decode_head(model.extract_feat(images))
                logits.square().mean().backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
        found.append([logits.detach().cpu(), gradient.cpu()])
    (computed, _), (eager, gradient), (replayed, replayed_gradient) = found
    assert (eager - computed).norm() <= 2e-2 * computed.norm()
    assert (replayed - eager).norm() <= 2e-2 * eager.norm()
    assert (replayed_gradient - gradient).norm() <= 0.1 * gradient.norm()
    # In half precision nothing overflows.
    with torch.autocast("cuda", torch.float16):
        logits = model.decode_head(model.extract_feat(images))
    assert torch.isfinite(logits).all()


@pytest.mark.slow
@pytest.mark.parametrize("published", [False, True], ids=["proper", "published"])
def test_it_learns_four_images_by_heart(published: bool) -> None:
    model = tiny(maps_as_published=published).train()
    model.decode_head.dropout = None
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(120):
        losses = model(**model.data_preprocessor(batch(4), True), mode="loss")
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    model.eval()
    model.test_cfg = ConfigDict(mode="whole")
    with torch.no_grad():
        found = model(**model.data_preprocessor(batch(4)), mode="predict")
    metric = SmallTargetMetric()
    metric.process({}, [sample.to_dict() for sample in found])
    results = metric.evaluate(4)
    assert results["IoU"] > 80 and results["Pd"] == 100 and results["Fa"] == 0
