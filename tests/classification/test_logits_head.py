"""Classifiers of mmpretrain on backbones that end in their published classifier."""

import pytest
import torch

pytest.importorskip("mmpretrain")

from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample

import mmmamba.classification  # noqa: F401
from mmmamba.models.backbones import VMamba


def classifier(**backbone):
    settings = dict(type="VMamba", **VMamba.TINY, num_classes=3) | backbone
    head = dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss"), topk=(1, 2))
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        return MODELS.build(dict(type="ImageClassifier", backbone=settings, head=head))


def test_its_logits_are_the_backbones():
    model = classifier(classifier=True).eval()
    images = torch.randn(2, 3, 64, 64)
    samples = [DataSample().set_gt_label(label) for label in (0, 2)]
    with torch.no_grad():
        logits = model.backbone(images)
        assert logits.shape == (2, 3)
        wanted = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2]))
        assert torch.equal(model(images, samples, mode="loss")["loss"], wanted)
        found = model(images, samples, mode="predict")
    torch.testing.assert_close(torch.stack([one.pred_score for one in found]), logits.softmax(1))


def test_maps_are_refused():
    with pytest.raises(TypeError, match="wants logits .* found maps: write .*classifier=True"):
        classifier()(torch.randn(1, 3, 64, 64))
        classifier().head.pre_logits(classifier().backbone(torch.randn(1, 3, 64, 64)))
