"""A student learns from a teacher, which stays as it is and is nowhere in the student."""

import copy
import math

import pytest
import torch

pytest.importorskip("mmpretrain")

import timm
import torchvision
from mmengine.optim import OptimWrapper
from torch import nn

from mmmamba.errors import UsageError
from mmmamba.models.backbones import GroupMamba
from mmmamba.models.classification.distillation import Distillation, hard_loss, soft_loss
from mmmamba.models.classification.teacher import Normalised, Teacher

from ..docs.blocks import blocks
from .tiny import BACKBONE, CLASSES, MEAN, STD, batch, build, losses, settings

RANDOM = dict(library="timm", model="test_resnet", allow_random=True)


def weights_file(network: nn.Module, folder, **beside) -> str:
    path = folder / "teacher.pth"
    torch.save(dict(model=network.state_dict(), **beside), path)
    return str(path)


def test_soft_loss_by_hand():
    student, teacher = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    # At temperature 2 the logits are (1, 0) and (0, 1): beliefs e/(e+1) and 1/(e+1) and reversed.
    p, q = math.e / (math.e + 1), 1 / (math.e + 1)
    divergence = q * math.log(q / p) + p * math.log(p / q)
    assert divergence == pytest.approx(0.4621171573)
    assert soft_loss(student, teacher, 2.0).item() == pytest.approx(4 * divergence)
    # A second image that both see alike halves the mean.
    alike = torch.tensor([[1.0, 3.0]])
    both = soft_loss(torch.cat([student, alike]), torch.cat([teacher, alike]), 2.0)
    assert both.item() == pytest.approx(2 * divergence)


def test_hard_loss_by_hand():
    student = torch.tensor([[0.0, 0.0], [math.log(3), 0.0]])
    teacher = torch.tensor([[5.0, 4.0], [-2.0, -1.0]])
    # It chooses the first and the second class, which the student believes by 1/2 and 1/4.
    assert hard_loss(student, teacher).item() == pytest.approx((math.log(2) + math.log(4)) / 2)


@pytest.mark.parametrize("logits", [(0.0, 1.0, 2.0)])
def test_weights_mix_as_deit_does_or_add(logits):
    student, teacher = torch.zeros(1, 3), torch.tensor([logits])
    assert Distillation(weight=0.1).of_labels == pytest.approx(0.9)
    adding = Distillation("soft", weight=5, label_weight=1)
    assert adding.of_labels == 1
    found = adding(student, teacher)
    torch.testing.assert_close(found, 5 * soft_loss(student, teacher, 1.0))


@pytest.mark.parametrize(
    "wrong, told",
    [
        (dict(kind="firm"), "wanted 'hard' or 'soft'"),
        (dict(weight=2), "say label_weight=1"),
        (dict(weight=0), "above 0"),
        (dict(label_weight=-1), "0 or more"),
        (dict(temperature=3), "knows no temperature"),
        (dict(kind="soft", temprature=3), "Did you mean 'temperature'"),
    ],
)
def test_settings_that_cannot_be(wrong, told):
    with pytest.raises(UsageError, match=told):
        build(teacher=RANDOM, distillation=wrong)


@pytest.mark.parametrize(
    "teacher, told",
    [
        (dict(library="timm", model="test_resnet"), "neither of checkpoint and pretrained=True"),
        (RANDOM | dict(checkpoint="a.pth", pretrained=True), "both of"),
        (RANDOM | dict(library="keras"), "one of timm, torchvision, mmpretrain, mmmamba"),
        (RANDOM | dict(mean=[0, 0, 0]), "one of mean and std"),
        (RANDOM | dict(checkpiont="a.pth"), "Did you mean 'checkpoint'"),
        (dict(library="timm"), "lacks something"),
        (RANDOM | dict(pretrained=True, num_classes=9), "has num_classes=9, which goes with"),
        (RANDOM | dict(library="mmpretrain", pretrained=True), "give checkpoint= instead"),
    ],
)
def test_teachers_that_cannot_be(teacher, told):
    with pytest.raises(UsageError, match=told):
        build(teacher=teacher)


def test_distillation_without_a_teacher_and_other_heads_are_refused():
    with pytest.raises(UsageError, match="needs a teacher"):
        build(distillation=dict(kind="soft"))
    with pytest.raises(UsageError, match="head ArcFaceClsHead, wanted one whose loss"):
        build(head=dict(type="ArcFaceClsHead", num_classes=3, in_channels=3))


def test_a_teacher_of_other_classes_is_told(tmp_path):
    path = weights_file(timm.create_model("test_resnet", num_classes=7), tmp_path)
    asked = dict(library="timm", model="test_resnet", checkpoint=path)
    with pytest.raises(UsageError, match="(?s)test_resnet of 3 classes cannot be made.*mismatch"):
        build(teacher=asked).init_weights()
    with pytest.raises(UsageError, match=r"gives logits \(4, 7\), the student \(4, 3\)"):
        losses(build(teacher=asked | dict(num_classes=7)))


@pytest.mark.parametrize("kind", ["hard", "soft"])
def test_a_step_teaches_the_student_alone(kind, tmp_path):
    torch.manual_seed(0)
    model = build(teacher=RANDOM, distillation=dict(kind=kind, weight=0.3))
    model.init_weights()
    model.train()
    teacher = model.teacher()
    network, student = teacher.network, copy.deepcopy(model.state_dict())
    before = copy.deepcopy(network.state_dict())
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1))

    inputs = model.data_preprocessor(batch(), training=True)
    logits, theirs = model(inputs["inputs"]), teacher(inputs["inputs"])[0]
    found = losses(model)
    assert list(found) == ["loss_labels", "loss_teacher"]
    labels = torch.tensor([0, 1, 2, 0])
    plain = nn.functional.cross_entropy(logits, labels)
    torch.testing.assert_close(found["loss_labels"], 0.7 * plain)
    term = hard_loss(logits, theirs) if kind == "hard" else soft_loss(logits, theirs, 1.0)
    torch.testing.assert_close(found["loss_teacher"], 0.3 * term)

    log = model.train_step(batch(), optimizer)
    torch.testing.assert_close(log["loss"], 0.7 * plain + 0.3 * term)
    assert not network.training and all(p.grad is None for p in network.parameters())
    assert all(torch.equal(x, before[name]) for name, x in network.state_dict().items())
    assert any(not torch.equal(x, student[name]) for name, x in model.state_dict().items())
    # Neither among what is trained, nor in a checkpoint, nor a second time in a copy.
    plain_names = set(build(type="ImageClassifier").state_dict())
    assert set(model.state_dict()) == plain_names
    assert {id(p) for p in model.parameters()}.isdisjoint(map(id, network.parameters()))
    assert copy.deepcopy(model).teacher() is teacher


def test_making_a_teacher_draws_no_random_numbers():
    model = build(teacher=RANDOM)
    state = torch.get_rng_state()
    assert model.teacher() is model.teacher()
    assert torch.equal(torch.get_rng_state(), state)


def test_predictions_need_no_teacher():
    """Its file may be gone by then."""
    model = build(teacher=dict(library="timm", model="test_resnet", checkpoint="gone.pth")).eval()
    prepared = model.data_preprocessor(batch(2))
    assert len(model(**prepared, mode="predict")) == 2
    with pytest.raises(UsageError, match="test_resnet of 3 classes cannot be made.*gone.pth"):
        model.init_weights()


def test_mixed_images_keep_soft_labels():
    mixed = build(
        teacher=RANDOM | dict(mean=MEAN, std=STD),
        train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8)]),
        head=dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss", use_soft=True)),
    )
    prepared = mixed.data_preprocessor(batch(), training=True)
    seen = []
    network = mixed.teacher().network
    network.register_forward_pre_hook(lambda module, images: seen.append(images[0]))
    found = mixed(**prepared, mode="loss")
    # What is normalised alike is not normalised again.
    assert torch.equal(seen[0], prepared["inputs"])
    scores = torch.stack([sample.gt_score for sample in prepared["data_samples"]])
    assert ((scores > 0).sum(1) == 2).any()
    logits = mixed(prepared["inputs"])
    wanted = -(scores * logits.log_softmax(1)).sum(1).mean() / 2
    torch.testing.assert_close(found["loss_labels"], wanted)


def test_what_a_teacher_is_stands_in_the_log(caplog):
    with caplog.at_level("INFO", "mmmamba"):
        build(teacher=RANDOM | dict(size=96)).teacher()
    (told,) = caplog.messages
    assert told.startswith("teacher timm test_resnet: 0.4 M parameters, images normalised anew, ")
    assert told.endswith("images resized to 96 x 96")


def test_maps_are_no_logits():
    model = build(teacher=RANDOM | dict(library="mmmamba", model=BACKBONE | dict(classifier=False)))
    with pytest.raises(UsageError, match="VMamba was asked .* gave a tuple; .*classifier=True"):
        losses(model)


def test_a_teacher_sees_images_of_its_own_mean_channels_and_size():
    pixels = torch.rand(2, 3, 8, 8) * 255
    ours = Normalised((1.0, 2.0, 3.0), (4.0, 5.0, 6.0), rgb=False)
    theirs = Normalised((30.0, 20.0, 10.0), (2.0, 3.0, 4.0))
    given = (pixels - torch.tensor(ours.mean)[:, None, None]) / torch.tensor(ours.std)[
        :, None, None
    ]
    teacher = Teacher(nn.Flatten(), ours, theirs, size=(8, 8))
    wanted = pixels.flip(1) - torch.tensor(theirs.mean)[:, None, None]
    wanted = wanted / torch.tensor(theirs.std)[:, None, None]
    torch.testing.assert_close(teacher(given)[0], wanted.flatten(1))
    other = Teacher(nn.Flatten(), theirs, theirs, size=(12, 10))
    assert other(given)[0].shape == (2, 3 * 12 * 10) and other.renormalise is None
    with pytest.raises(UsageError, match="wants images of 3 channels, the student's have 1"):
        Teacher(nn.Flatten(), Normalised((0.0,), (1.0,)), theirs)


def test_teachers_of_every_library_say_what_their_networks_say(tmp_path):
    images = torch.randn(2, 3, 64, 64)

    def check(network: nn.Module, wanted: torch.Tensor, **teacher) -> None:
        path = weights_file(network, tmp_path)
        model = build(teacher=dict(checkpoint=path, **teacher))
        torch.testing.assert_close(model.teacher()(images)[0], wanted)

    with torch.no_grad():
        small = timm.create_model("test_resnet", num_classes=CLASSES).eval()
        # From -1 to 1, as timm says of this model.
        pixels = images * torch.tensor(STD)[:, None, None] + torch.tensor(MEAN)[:, None, None]
        check(small, small(pixels / 127.5 - 1), library="timm", model="test_resnet")
        squeeze = torchvision.models.squeezenet1_1(num_classes=CLASSES).eval()
        check(squeeze, squeeze(images), library="torchvision", model="squeezenet1_1")
        ours = build(type="ImageClassifier").eval()
        plain = settings(type="ImageClassifier")
        check(ours, ours(images), library="mmpretrain", model=plain)
        file = tmp_path / "config.py"
        file.write_text(f"data_preprocessor = {plain.pop('data_preprocessor')}\nmodel = {plain}")
        check(ours, ours(images), library="mmpretrain", model=str(file))
        alone = ours.backbone
        check(alone, alone(images), library="mmmamba", model=dict(BACKBONE))


def test_two_heads_learn_apart_and_speak_together():
    backbone = dict(type="GroupMamba", **GroupMamba.TINY, classifier=True, num_classes=CLASSES)
    # The same pass again, and no path of it left out.
    backbone.update(drop_path_rate=0.0, norm_eval=True)
    model = build(backbone=backbone, teacher=RANDOM, distillation=dict(weight=0.25)).train()
    found = losses(model)
    images = model.data_preprocessor(batch(), training=True)["inputs"]
    first, second = model.backbone(images)
    labels = torch.tensor([0, 1, 2, 0])
    wanted = 0.75 * nn.functional.cross_entropy(first, labels)
    torch.testing.assert_close(found["loss_labels"], wanted)
    wanted = 0.25 * hard_loss(second, model.teacher()(images)[0])
    torch.testing.assert_close(found["loss_teacher"], wanted)
    found["loss_teacher"].backward()
    heads = model.backbone.classifier
    assert heads.dist_head.weight.grad.any() and heads.head.weight.grad is None
    together = model.eval()(images)
    torch.testing.assert_close(together, (first + second) / 2)
    # Without a teacher the mean learns, as ever.
    assert build(backbone=backbone).train().backbone(images).shape == (4, CLASSES)


def test_the_page_shows_settings_that_can_be():
    """Names of the libraries too, which know the weights that are asked for."""
    models = []
    for block in blocks("docs/pretrain.md"):
        space = {}
        if "DistilledClassifier" in block.text:
            exec(block.text, space)
            models.append(space["model"])
    teachers = [model["teacher"] for model in models if "teacher" in model]
    assert len(models) == 3 and len(teachers) == 2
    for model in models:
        build(**{name: value for name, value in model.items() if name != "backbone"})
    assert timm.is_model(teachers[0]["model"])
    assert torchvision.models.get_model_weights(teachers[1]["model"])
