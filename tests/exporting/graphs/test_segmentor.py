"""Graphs of segmentors give what the segmentors themselves predict."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.models.decode_heads import FPNHead
from mmseg.models.segmentors import EncoderDecoder
from torch import Tensor, nn

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import graph_of

from .cases import SIZES, batch, onnx_file, run_onnx, segmentor, traced

BASES = ["upernet", "semantic_fpn"]
# mmseg's, when it is asked itself.
pytestmark = [
    pytest.mark.filterwarnings("ignore:When align_corners=True:UserWarning"),
    pytest.mark.filterwarnings("ignore:threshold is not defined:UserWarning"),
]


def logits(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model.encode_decode(images, [dict(img_shape=images.shape[-2:])])


def given(graph: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        (found,) = graph(images)
    return found


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_a_graph_gives_what_is_predicted(base, align_corners):
    model = segmentor(base, align_corners=align_corners)
    before = dict(model.decode_head.named_modules())
    for size in SIZES:
        images, _ = batch(2, size)
        wanted = logits(model, images)
        assert torch.equal(given(graph_of(model, logits=True), images), wanted)
        labels = given(graph_of(model), images)
        assert torch.equal(labels, wanted.argmax(1)) and labels.shape == (2, *size)
        with torch.no_grad():
            predicted = [one.pred_sem_seg.data[0] for one in model.predict(images)]
        assert torch.equal(labels, torch.stack(predicted))
    assert dict(model.decode_head.named_modules()) == before


def test_one_channel_is_compared_with_the_threshold():
    model = segmentor("semantic_fpn", classes=1)
    model.decode_head.threshold = 0.6
    images, _ = batch(2, SIZES[0])
    labels = given(graph_of(model), images)
    with torch.no_grad():
        wanted = torch.cat([one.pred_sem_seg.data for one in model.predict(images)])
    assert torch.equal(labels, wanted.long()) and 0 < labels.float().mean() < 1


@pytest.mark.parametrize(
    ("base", "align_corners", "fixed"),
    [
        ("upernet", False, SIZES[1]),
        pytest.param("upernet", False, None, marks=pytest.mark.slow),
        pytest.param("upernet", True, None, marks=pytest.mark.slow),
        ("semantic_fpn", False, None),
        pytest.param("semantic_fpn", True, None, marks=pytest.mark.slow),
        pytest.param("semantic_fpn", True, SIZES[1], marks=pytest.mark.slow),
    ],
)
def test_traced_and_as_a_file(base, align_corners, fixed):
    """At other sizes than the traced one, of which UperNet's pooling divides none."""
    pytest.importorskip("onnxruntime")
    model = segmentor(base, align_corners=align_corners)
    graph = graph_of(model, logits=True)
    program = traced(graph, fixed)
    file, module = onnx_file(graph, program), program.module()
    for size in [fixed] if fixed else [*SIZES, (30, 50)]:
        images, _ = batch(2, size)
        wanted = logits(model, images)
        if min(size) > 32:
            torch.testing.assert_close(module(images)[0], wanted)
        (found,) = run_onnx(file, images)
        assert np.abs(found - wanted.numpy()).max() < 1e-5 * float(wanted.std())


def test_labels_as_a_file():
    pytest.importorskip("onnxruntime")
    model = segmentor("semantic_fpn")
    graph = graph_of(model)
    images, _ = batch(2, SIZES[0])
    (found,) = run_onnx(onnx_file(graph, traced(graph, SIZES[0])), images)
    assert found.dtype == np.int64 and np.array_equal(found, given(graph, images).numpy())


def test_a_window_that_slides_is_refused_but_at_its_own_size():
    model = segmentor("semantic_fpn", mode="slide", crop_size=(64, 96), stride=(40, 40))
    graph = graph_of(model)
    for size in ((64, 96), (40, 96)):
        images, _ = batch(1, size)
        wanted = model.predict(images)[0].pred_sem_seg.data
        assert torch.equal(given(graph, images), wanted)
    message = r"slides a window .*crop_size=\(64, 96\).*64 x 97 pixels.*--size 64 96"
    with pytest.raises(UsageError, match=message):
        traced(graph, (64, 97))
    with pytest.raises(UsageError, match="a graph for any size"):
        traced(graph)


class _OwnSegmentor(EncoderDecoder):
    def inference(self, inputs, batch_img_metas):
        return super().inference(inputs, batch_img_metas)


class _OwnHead(FPNHead):
    def predict_by_feat(self, seg_logits, batch_img_metas):
        return seg_logits


def test_what_predicts_in_its_own_way_is_refused():
    model = segmentor("semantic_fpn")
    model.decode_head.__class__ = _OwnHead
    with pytest.raises(UsageError, match="_OwnHead cannot be exported: it predicts in a way of"):
        graph_of(model)
    model = segmentor("semantic_fpn")
    model.__class__ = _OwnSegmentor
    with pytest.raises(UsageError, match="_OwnSegmentor cannot be exported: its inference is its"):
        graph_of(model)
