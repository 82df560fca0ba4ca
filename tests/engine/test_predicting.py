"""Networks compute in half precision, results of heads in float32."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import BaseDataElement
from torch import Tensor, nn

import mmmamba  # noqa: F401  before mmdet, which imports mmcv's operators
from mmmamba.acceleration.fusing import fuse
from mmmamba.engine.precision import Precision
from mmmamba.engine.predicting import predict_in
from mmmamba.errors import UsageError

from ..narrow import narrow

CPU = torch.device("cpu")
CONFIGS = Path(__file__).parents[2] / "configs"
BACKBONE = dict(type="VMamba", arch=dict(embed_dims=8, depths=(1, 1, 1, 1)))
SIZE = (64, 96)


def in_dtype(dtype: torch.dtype, after: torch.dtype | None = None) -> Precision:
    return Precision(dtype, CPU, "for a test", after)


def build(name: str) -> nn.Module:
    """A shipped config with a small backbone and random weights that find something."""
    cfg = Config.fromfile(CONFIGS / f"{name}.py")
    cfg.model.backbone.init_cfg = None
    if cfg.model.backbone.type == "VMamba":
        indices = cfg.model.backbone.get("out_indices", (0, 1, 2, 3))
        cfg.model.backbone = dict(BACKBONE, out_indices=indices)
        narrow(cfg.model)
        widths = [8 * 2**i for i in indices]
        for key in ("neck", "decode_head"):
            if isinstance(cfg.model.get(key, {}).get("in_channels"), list):
                cfg.model[key].in_channels = widths
        if "auxiliary_head" in cfg.model:
            cfg.model.auxiliary_head.in_channels = widths[2]
    if cfg.default_scope == "mmseg":
        cfg.model.data_preprocessor.size = SIZE
    if "roi_head" in cfg.model:
        cfg.model.test_cfg.rpn.update(nms_pre=100, max_per_img=30)
        cfg.model.test_cfg.rcnn.max_per_img = 10
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        model = MODELS.build(cfg.model).eval()
    for module in model.modules():
        # Scores of weights as they start are all alike, and below every threshold.
        last = isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None
        if last and len(module.bias) in (80, 81, 720):
            nn.init.normal_(module.weight, std=0.3)
            nn.init.constant_(module.bias, -1)
    return model


def images(model: nn.Module) -> dict:
    meta = dict(img_shape=SIZE, ori_shape=SIZE, pad_shape=SIZE, scale_factor=(1.0, 1.0), img_id=1)
    generator = torch.Generator().manual_seed(1)
    image = torch.randint(256, (3, *SIZE), dtype=torch.uint8, generator=generator)
    if hasattr(model, "decode_head"):
        from mmseg.structures import SegDataSample as Sample
    else:
        from mmdet.structures import DetDataSample as Sample
    return dict(inputs=[image], data_samples=[Sample(metainfo=meta)])


@torch.no_grad()
def predict(model: nn.Module) -> BaseDataElement:
    with DefaultScope.overwrite_default_scope(
        "mmseg" if hasattr(model, "decode_head") else "mmdet"
    ):
        return deepcopy(model.test_step(images(model))[0])


def spied(model: nn.Module) -> list[tuple[str, bool]]:
    """Dtypes that reach `predict_by_feat` of heads, and whether autocast is on there."""
    seen: list[tuple[str, bool]] = []

    def spy(method: Callable) -> Callable:
        def wrapper(*args, **kwargs):
            for x in tensors([args, kwargs]):
                seen.append((x.dtype, torch.is_autocast_enabled("cpu")))
            return method(*args, **kwargs)

        return wrapper

    for module in model.modules():
        if hasattr(module, "predict_by_feat"):
            module.predict_by_feat = spy(module.predict_by_feat)
    return seen


def tensors(node: object) -> list[Tensor]:
    if isinstance(node, Tensor):
        return [node]
    parts = node.values() if isinstance(node, dict) else node
    if not isinstance(node, (dict, list, tuple)):
        return []
    return [x for part in parts for x in tensors(part)]


@pytest.mark.parametrize(
    "name",
    [
        "mask_rcnn/vmamba_t_1x_coco",
        "cascade_mask_rcnn/vmamba_t_1x_coco",
        "retinanet/efficientvmamba_t_1x_coco",
        "yolo/vmamba_t_rtmdet_36e_coco",
        "yolo/vmamba_t_yolox_36e_coco",
        "mamba_yolo/mamba_yolo_t_300e_coco",
        "upernet/vmamba_t_160k_ade20k-512x512",
        "semantic_fpn/mobilemamba_b4_160k_ade20k-512x512",
    ],
)
def test_every_head_of_our_configs(name: str) -> None:
    model = build(name)
    convolved = []
    model.backbone.register_forward_hook(lambda _, __, maps: convolved.append(maps[-1].dtype))
    seen = spied(model)
    exact = predict(model)
    predict_in(model, in_dtype(torch.float32))
    again = predict(model)
    assert {dtype for dtype, _ in seen if dtype.is_floating_point} == {torch.float32}
    assert set(convolved) == {torch.float32}
    seen.clear()
    half = deepcopy(model)
    predict_in(half, in_dtype(torch.bfloat16))
    near = predict(half)
    assert convolved[-1] == torch.bfloat16
    assert seen and {(dtype, on) for dtype, on in seen if dtype.is_floating_point} == {
        (torch.float32, False)
    }
    if hasattr(model, "decode_head"):
        assert torch.equal(exact.seg_logits.data, again.seg_logits.data)
        logits, got = exact.seg_logits.data, near.seg_logits.data
        assert got.dtype == torch.float32 and not torch.equal(got, logits)
        assert (got - logits).abs().max() < 0.05 * logits.abs().max()
        return
    one, two, three = exact.pred_instances, again.pred_instances, near.pred_instances
    assert len(one) and len(three) and one.scores.max() > 0.05
    for field in ("scores", "bboxes", "labels"):
        assert torch.equal(one[field], two[field]), field
    assert three.scores.dtype == three.bboxes.dtype == torch.float32
    assert three.scores.max() == pytest.approx(float(one.scores.max()), abs=0.03)


def test_a_fused_copy_computes_with_its_own_weights() -> None:
    model = build("mask_rcnn/vmamba_t_1x_coco")
    predict_in(model, in_dtype(torch.bfloat16))
    copy = fuse(model)
    nn.init.zeros_(copy.roi_head.bbox_head.fc_cls.weight)
    assert len(predict(model).pred_instances) and not len(predict(copy).pred_instances)


class Head(nn.Module):
    """Gives what is told of its maps."""

    def predict_by_feat(
        self, maps: tuple[Tensor, ...], scale: float = 1.0
    ) -> list[BaseDataElement]:
        return [
            BaseDataElement(value=maps[0] * scale, kept=BaseDataElement(low=maps[0].bfloat16()))
        ]


class Product(BaseModel):
    """The square of each pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.layer.weight)
        self.head = Head()
        self.steps = 0

    def forward(self, inputs, data_samples=None, mode="predict"):
        self.steps += 1
        x = self.layer(torch.stack(inputs))
        return self.head.predict_by_feat((x * x,), scale=2.0)


def square(model: nn.Module, value: float) -> BaseDataElement:
    with torch.no_grad():
        return model.test_step(dict(inputs=[torch.tensor([value])]))[0]


def test_values_beyond_float16_are_computed_again(caplog: pytest.LogCaptureFixture) -> None:
    model = Product()
    with caplog.at_level("INFO", "mmmamba"):
        predict_in(model, in_dtype(torch.float16, after=torch.bfloat16))
        assert square(model, 3.0).value == 18 and model.steps == 1
        assert "predictions in float16 (for a test)" in caplog.text
        assert square(model, 1000.0).value == pytest.approx(2e6, rel=0.01) and model.steps == 3
        assert "beyond the range of float16" in caplog.text and "bfloat16" in caplog.text
        # From then on at once.
        assert square(model, 1000.0).value == pytest.approx(2e6, rel=0.01) and model.steps == 4
    assert len(caplog.records) == 2


def test_nan_counts_as_overflow_and_minus_infinity_does_not() -> None:
    model = Product()
    predict_in(model, in_dtype(torch.float16))
    with pytest.raises(UsageError, match="beyond the range of float16.*--precision bfloat16"):
        square(model, float("nan"))
    with pytest.raises(UsageError, match="65504"):
        square(model, 300.0)
    # What the failed ones saw is not held against the next.
    assert square(model, 2.0).value == 8


def test_results_are_float32_however_deep() -> None:
    model = Product()
    predict_in(model, in_dtype(torch.bfloat16))
    found = square(model, 3.0)
    assert found.value.dtype == found.kept.low.dtype == torch.float32
