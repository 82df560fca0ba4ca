"""A classifier learns from the average of its own weights, from a share of the training on."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import pytest
import torch

pytest.importorskip("mmpretrain")

import timm
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS as HOOKS_REGISTRY
from mmengine.runner import Runner

from mmmamba.config.keys import unknown_keys
from mmmamba.config.values import unfit_values
from mmmamba.engine.hooks.mesa import MESAHook
from mmmamba.errors import UsageError
from mmmamba.models.classification.distillation import mesa_loss

from ..engine.reliability.test_resume import compare
from ..engine.tiny_models import toy
from ..engine.tiny_runs import differences
from .tiny import BACKBONE, CLASSES, batch, build, losses, settings

HOOKS = [dict(type="EMAHook", momentum=0.1), dict(type="MESAHook", weight=1.5, begin=0.4)]
HEAD_WEIGHT = "backbone.classifier.head.weight"
# Dropout, so that each step draws random numbers.
HEAD = dict(num_classes=CLASSES, in_channels=32, mid_channels=[8], dropout_rate=0.5)
MODEL = settings(
    backbone=dict(type="ResNet", depth=18, stem_channels=4, base_channels=4),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="StackedLinearClsHead", **HEAD),
)


@HOOKS_REGISTRY.register_module()
class SeededSteps(Hook):
    """Random numbers by the number of the step, which MMEngine alone does not resume."""

    def __init__(self) -> None:
        self.losses: list[dict[str, float]] = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        torch.manual_seed(runner.iter)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.losses.append({name: value.item() for name, value in outputs.items()})


def runner(work_dir: Path, hooks: list, model: dict = MODEL, **options) -> Runner:
    """Two epochs of five batches."""
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        dataset=dict(type="Labelled"),
        collate_fn=dict(type="default_collate"),
    )
    return Runner(
        model,
        str(work_dir),
        train_dataloader=loader,
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type="AdamW", lr=1e-2)),
        custom_hooks=hooks,
        default_hooks=dict(logger=None),
        randomness=dict(seed=0),
        default_scope="mmpretrain",
        experiment_name=work_dir.name,
        **options,
    )


def test_the_formula_by_hand():
    student = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]], requires_grad=True)
    average = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    # The average believes (1/2, 1/2) and (1/4, 3/4), the student (3/4, 1/4) and (1/2, 1/2).
    first = -(math.log(3 / 4) + math.log(1 / 4)) / 2
    second = math.log(2)
    found = mesa_loss(student, average)
    assert found.item() == pytest.approx((first + second) / 2)
    found.backward()
    # The student's belief less the average's, a half each.
    wanted = torch.tensor([[0.25, -0.25], [0.25, -0.25]]) / 2
    torch.testing.assert_close(student.grad, wanted)


def test_the_term_is_of_the_average_in_evaluation():
    model = build(backbone=BACKBONE | dict(drop_path_rate=0.0)).train()
    average = copy.deepcopy(model).requires_grad_(False)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(1.1)
    before = copy.deepcopy(average.state_dict())
    assert list(losses(model)) == ["loss_labels"]
    model.learn_from_average(average)
    model.mesa_weight = 2.0
    found = losses(model)
    images = model.data_preprocessor(batch(), training=True)["inputs"]
    torch.testing.assert_close(found["loss_mesa"], 2 * mesa_loss(model(images), average(images)))
    # Its weights are changed behind autograd's back, one number at a time too.
    average.backbone.classifier.head.weight.data[0, 1] += 1
    assert losses(model)["loss_mesa"] != found["loss_mesa"]
    average.backbone.classifier.head.weight.data[0, 1] = before[HEAD_WEIGHT][0, 1]
    found["loss_mesa"].backward()
    assert model.backbone.classifier.head.weight.grad.any() and not average.training
    assert all(torch.equal(x, before[name]) for name, x in average.state_dict().items())
    assert set(model.state_dict()) == set(before)


def test_a_resumed_run_is_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    """The term is there from the fifth step on; it goes on after the fifth."""
    through = SeededSteps()
    runner(tmp_path / "through", [*HOOKS, through]).train()
    assert ["loss_mesa" in step for step in through.losses] == [False] * 4 + [True] * 6
    resumed = SeededSteps()
    middle = str(tmp_path / "through" / "epoch_1.pth")
    runner(tmp_path / "resumed", [*HOOKS, resumed], load_from=middle, resume=True).train()
    assert resumed.losses == through.losses[5:]
    one, two = (
        torch.load(tmp_path / name / "epoch_2.pth", weights_only=False)
        for name in ("through", "resumed")
    )
    for part in ("state_dict", "ema_state_dict", "optimizer"):
        assert differences(one[part], two[part]) == []
    assert {name.split(".")[0] for name in one["state_dict"]} == {"backbone", "head"}


@pytest.mark.slow
def test_a_run_stopped_within_an_epoch_goes_on_with_its_teacher(tmp_path: Path) -> None:
    cfg = toy(tmp_path)
    cfg.default_scope = "mmpretrain"
    file = str(tmp_path / "teacher.pth")
    torch.save(timm.create_model("test_resnet", num_classes=CLASSES).state_dict(), file)
    teacher = dict(library="timm", model="test_resnet", checkpoint=file)
    cfg.model = MODEL | dict(teacher=teacher)
    cfg.train_dataloader.dataset = dict(type="Labelled")
    cfg.train_dataloader.collate_fn = dict(type="default_collate")
    cfg.custom_hooks = [*HOOKS, dict(type="Witness", priority="VERY_LOW")]
    compare(cfg, stop=7)


def test_its_config_is_known() -> None:
    teacher = dict(library="timm", model="test_resnet", allow_random=True)
    model = MODEL | dict(teacher=teacher, distillation=dict(kind="soft", temperature=2))
    cfg = Config(dict(default_scope="mmpretrain", model=model, custom_hooks=HOOKS))
    assert not list(unknown_keys(cfg)) and not list(unfit_values(cfg))
    cfg.model.teachr = cfg.model.pop("teacher")
    assert [unknown.keys for unknown in unknown_keys(cfg)] == [("model", "teachr")]


def test_what_it_lacks_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="weight is 0, wanted"):
        MESAHook(weight=0)
    with pytest.raises(UsageError, match="begin is 1, wanted a share"):
        MESAHook(begin=1)
    with pytest.raises(UsageError, match="averages no weights; add dict"):
        runner(tmp_path / "no_average", HOOKS[1:]).train()
    with pytest.raises(UsageError, match="is a ImageClassifier, wanted"):
        runner(tmp_path / "plain", HOOKS, MODEL | dict(type="ImageClassifier")).train()
