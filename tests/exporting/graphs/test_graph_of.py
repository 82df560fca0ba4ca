"""Which graph a model gets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmmamba.errors import UsageError
from mmmamba.exporting.graphs import graph_of
from mmmamba.models.backbones import VMamba

from .cases import FewConvolutions, batch, detector, segmentor


def test_graphs_by_models():
    graph = graph_of(detector("yolox_pafpn"))
    assert graph.task == "detection" and graph.input_names == ("images", "image_sizes")
    assert graph.output_names == ("boxes", "scores", "labels")
    graph = graph_of(segmentor("semantic_fpn"))
    assert graph.task == "segmentation" and graph.input_names == ("images",)
    assert graph.output_names == ("labels",)


def test_maps_of_backbones_are_named_by_their_indices():
    backbone = FewConvolutions((1, 3))
    graph = graph_of(backbone)
    assert graph.task == "backbone" and graph.output_names == ("map1", "map3")
    images, _ = batch(2, (64, 96))
    for one, other in zip(graph(images), backbone(images), strict=True):
        assert torch.equal(one, other)


def test_our_backbones():
    graph = graph_of(VMamba(**VMamba.TINY))
    assert graph.output_names == ("map0", "map1", "map2", "map3")
    graph = graph_of(VMamba(**VMamba.TINY, classifier=True, num_classes=7).eval())
    assert graph.output_names == ("logits",)
    with torch.no_grad():
        assert [one.shape for one in graph(torch.rand(2, 3, 64, 64))] == [(2, 7)]


def test_what_cannot_be_exported_is_refused():
    with pytest.raises(UsageError, match=r"Linear cannot be exported\. Known are .*RetinaNet"):
        graph_of(nn.Linear(1, 1))
    with pytest.raises(UsageError, match=r"YOLOX gives no logits: leave out `--logits`"):
        graph_of(detector("yolox_pafpn"), logits=True)
    with pytest.raises(UsageError, match=r"FewConvolutions suppresses no boxes: .*--no-nms"):
        graph_of(FewConvolutions(), nms=False)
