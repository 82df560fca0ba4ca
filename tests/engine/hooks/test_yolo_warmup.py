"""The warm-up of YOLO recipes, in a run of mmengine's runner."""

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from mmmamba.engine.hooks.yolo_warmup import YOLOWarmupHook


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def forward(self, inputs, mode="tensor"):
        return dict(loss=self.layer(inputs).sum())


class Watch(Hook):
    priority = "LOWEST"

    def __init__(self):
        self.seen = []

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        weight, bias = runner.optim_wrapper.optimizer.param_groups
        self.seen.append((weight["lr"], bias["lr"], weight["momentum"]))


def run(
    tmp_path, paramwise, epochs=4, constructor=None, **schedule
) -> list[tuple[float, float, float]]:
    watch = Watch()
    Runner(
        Line(),
        str(tmp_path),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        train_dataloader=dict(
            dataset=[dict(inputs=torch.ones(1))] * 5,
            batch_size=1,
            sampler=dict(type="DefaultSampler"),
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(
            optimizer=dict(type="SGD", lr=0.01, momentum=0.937, weight_decay=1e-4),
            paramwise_cfg=paramwise,
            **(dict(constructor=constructor) if constructor else {}),
        ),
        param_scheduler=[
            dict(type="LinearLR", start_factor=1.0, end_factor=0.01)
            | (schedule or dict(begin=0, end=epochs))
        ],
        custom_hooks=[YOLOWarmupHook(epochs=2, min_iters=1), watch],
        experiment_name=tmp_path.name,
    ).train()
    return watch.seen


def test_rates_rise_and_fall_to_the_schedule(tmp_path):
    """Ten iterations of warm-up in four epochs of five; then the schedule of a run without."""
    seen = run(tmp_path, dict(bias_decay_mult=0.0))
    assert seen[0] == pytest.approx((0.0, 0.1, 0.8))
    # Epoch 0 is scheduled at 0.01, epoch 1 at a third of the way to 0.0001.
    second = 0.01 * (1 - 0.99 / 3)
    assert seen[4] == pytest.approx((0.004, 0.1 - 0.4 * 0.09, 0.8 + 0.4 * 0.137))
    assert seen[5] == pytest.approx((second / 2, 0.1 + (second - 0.1) / 2, 0.8 + 0.5 * 0.137))
    third = 0.01 * (1 - 2 * 0.99 / 3)
    assert seen[10:15] == [pytest.approx((third, third, 0.937))] * 5


def test_a_schedule_by_iterations_goes_on(tmp_path):
    """From 0.01 to a hundredth of it in twenty iterations, the first ten of them warm-up."""
    seen = run(tmp_path, dict(bias_decay_mult=0.0), by_epoch=False, begin=0, end=20)
    scheduled = [0.01 * (1 - 0.99 * i / 19) for i in range(20)]
    assert [lr for lr, _, _ in seen[10:]] == pytest.approx(scheduled[10:])
    assert seen[5][0] == pytest.approx(scheduled[5] / 2)


def test_groups_of_many_parameters(tmp_path):
    """As with a group for each."""
    seen = run(tmp_path, dict(bias_decay_mult=1.0), constructor="BiasesApartConstructor")
    assert seen == run(tmp_path / "each", dict(bias_decay_mult=1.0))


def test_biases_stay_apart():
    """A norm's bias has the settings of its weight."""
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 1, 1), torch.nn.BatchNorm2d(1), torch.nn.Conv2d(1, 1, 1)
    )
    cfg = dict(
        optimizer=dict(type="SGD", lr=0.01, weight_decay=1e-4),
        paramwise_cfg=dict(norm_decay_mult=0.0, bias_decay_mult=0.0),
    )
    each, few = (
        build_optim_wrapper(model, dict(cfg, constructor=constructor)).optimizer.param_groups
        for constructor in ("DefaultOptimWrapperConstructor", "BiasesApartConstructor")
    )
    assert len(each) == 6 and [len(group["params"]) for group in few] == [2, 3, 1]
    decays = [
        {id(p): g["weight_decay"] for g in groups for p in g["params"]} for groups in (each, few)
    ]
    assert decays[0] == decays[1]
    norm = model[1]
    assert few[2]["params"] == [norm.weight] and not few[2]["biases"] and few[1]["biases"]


def test_groups_that_mix_biases_and_others_are_an_error(tmp_path):
    with pytest.raises(ValueError, match="paramwise_cfg"):
        run(tmp_path, None)
