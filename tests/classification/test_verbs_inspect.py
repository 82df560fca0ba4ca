"""What a classifier looks at: Grad-CAM of a class, maps, receptive fields."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

pytest.importorskip("mmpretrain")

from mmmamba.commands import main
from mmmamba.commands.inspect.inspection import Inspection
from mmmamba.commands.inspect.map_giving import giving_maps
from mmmamba.errors import UsageError
from mmmamba.inference.opening import open_model
from mmmamba.models.trunks.base import MambaBackbone
from mmmamba.visualization.feature_maps import feature_maps
from mmmamba.visualization.grad_cam import classification_cam

from .verbs_runs import CLASSES, OURS, RESNET, write_images, write_run


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("cells") / "data", 1)


@pytest.fixture(scope="module")
def ours(images: Path) -> Path:
    return write_run(images.parent / "ours", OURS, images)


@pytest.fixture(scope="module")
def resnet(images: Path) -> Path:
    return write_run(images.parent / "resnet", RESNET, images)


@pytest.mark.parametrize("family", MambaBackbone.families(), ids=lambda family: family.__name__)
def test_both_halves_of_a_classifier_give_its_logits(family):
    torch.manual_seed(0)
    model = family(**family.TINY, classifier=True, num_classes=3).eval()
    images = torch.randn(1, 3, 64, 96)
    map_BCHW, classify = model.open_classifier(images)
    wanted = model(images)
    torch.testing.assert_close(classify(map_BCHW), wanted)
    # The map is one that the logits depend on, and lies as the image does.
    leaf = map_BCHW.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(classify(leaf)[0, 0], leaf)
    assert gradient.abs().sum() > 0
    # Some families give one cell for this image.
    assert map_BCHW.shape[3] > map_BCHW.shape[2] or map_BCHW.shape[2:] == (1, 1)


def test_under_mean_and_linear_layer_it_is_the_weighted_sum_of_the_maps(resnet):
    """There Grad-CAM is CAM (Selvaraju et al., section 3): weights of the class over channels."""
    model = open_model(resnet, device="cpu").model
    inputs = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        map_CHW = model.backbone(inputs)[-1][0]
        scores = model(inputs).softmax(1)[0]
    for label in range(3):
        cam = classification_cam(model, inputs, label)
        assert cam.score == pytest.approx(float(scores[label]), rel=1e-5)
        weights_C = model.head.fc.weight.data[label]
        wanted = (weights_C[:, None, None] * map_CHW).sum(0).relu()
        wanted = torch.nn.functional.interpolate(wanted[None, None], (96, 128), mode="bilinear")
        wanted = wanted[0, 0] / wanted.max().clamp(min=1e-30)
        torch.testing.assert_close(cam.heat_HW, wanted, atol=1e-5, rtol=0)
        # One weight a channel wherever it is: both forms are the same.
        torch.testing.assert_close(cam.local_HW, cam.heat_HW, atol=1e-5, rtol=0)
    assert classification_cam(model, inputs).label == int(scores.argmax())


def test_pictures(ours, images, tmp_path, capsys):
    words = f"inspect {ours} {images}/{CLASSES[0]}/0.png --class {CLASSES[1]} --out {tmp_path} "
    assert main((words + "--what cam features --device cpu").split()) == 0
    told = capsys.readouterr().out
    assert f"cam: {CLASSES[1]}, score 0." in told and "maps of the backbone" in told
    assert "features: 4 maps of 16, 32, 64, 128 channels" in told
    assert {path.name for path in tmp_path.iterdir()} == {"cam.png", "features.png"}


def test_an_untrained_one_has_a_receptive_field(resnet, images, tmp_path, capsys):
    words = f"inspect {resnet}/run.py {images}/{CLASSES[0]}/0.png --out {tmp_path} --untrained "
    assert main((words + "--what erf --size 64 --crops 1 --device cpu").split()) == 0
    assert "ResNet, random weights" in capsys.readouterr().out


def test_maps_are_those_that_the_classifier_reads(ours):
    opened = open_model(ours, device="cpu")
    backbone = opened.model.backbone
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        wanted = backbone.open_classifier(images)[0][0].permute(1, 2, 0)
    twin = giving_maps(backbone, opened.cfg.model.backbone)
    torch.testing.assert_close(feature_maps(twin, images, before_norm=True)[-1], wanted)


def test_what_cannot_be_drawn_is_told(ours, resnet, images, tmp_path):
    image = images / CLASSES[0] / "0.png"
    inspection = Inspection.open(resnet, image, device="cpu")
    with pytest.raises(UsageError, match="the neck GlobalAveragePooling gives vectors and no maps"):
        inspection.cam(tmp_path / "a.png", part="neck")
    with pytest.raises(
        UsageError, match="there is no class 'lymphocite'.*Did you mean 'lymphocyte'"
    ):
        inspection.cam(tmp_path / "a.png", label="lymphocite")
    # 120 x 90 pixels become 96 x 72, of which the centre of 64 x 64 is left.
    assert inspection.subject.from_file(60, 45) == (32, 32)
    assert inspection.subject.from_file(20, 5) == (0, 0)
