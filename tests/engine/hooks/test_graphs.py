"""The hook that replays models as CUDA graphs, in runs of mmengine's runner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmmamba.acceleration.graphs import attach, ungraph_model
from mmmamba.config.keys import unknown_keys
from mmmamba.engine.hooks.graphs import GraphHook, add_graphs
from mmmamba.errors import UsageError
from mmmamba.models.backbones import VMamba

from ...acceleration.again import Again
from ..tiny_models import detection, segmentation

needs_cpu = pytest.mark.skipif(
    torch.cuda.is_available(), reason="asks for the device that is missing here"
)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


class Model(BaseModel):
    def __init__(self, name: str = "backbone"):
        super().__init__()
        torch.manual_seed(0)
        setattr(self, name, VMamba(**VMamba.TINY, drop_path_rate=0.0))

    def forward(self, inputs, mode="tensor"):
        return dict(loss=sum((m - 1).square().mean() for m in self.backbone(inputs)))


def train(tmp_path: Path, model: Model, *hooks: dict) -> Model:
    images = torch.randn(6, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    Runner(
        model,
        str(tmp_path),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        train_dataloader=dict(
            dataset=[dict(inputs=image) for image in images],
            batch_size=2,
            sampler=dict(type="DefaultSampler", shuffle=False),
            collate_fn=dict(type="default_collate"),
        ),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.01, momentum=0.9)),
        custom_hooks=list(hooks),
        experiment_name=tmp_path.name,
    ).train()
    return model


@needs_cpu
def test_on_a_cpu_auto_does_nothing_and_a_number_is_an_error(tmp_path):
    model = train(tmp_path / "auto", Model(), dict(type="GraphHook"))
    assert "forward" not in model.backbone.__dict__
    with pytest.raises(UsageError, match="want a model on a GPU, and this run has it on cpu"):
        train(tmp_path / "three", Model(), dict(type="GraphHook", graphs=3))
    with pytest.raises(UsageError, match="want a model on a GPU"):
        train(tmp_path / "old", Model(), dict(type="GraphBackboneHook", max_sizes=2))
    with pytest.raises(UsageError, match="graphs is 'on', wanted 'off', 'auto' or a number"):
        GraphHook("on")


@pytest.mark.parametrize("named", ["GraphBackboneHook", "mmmamba.GraphHook", GraphHook])
def test_what_is_asked_for_takes_the_place_of_the_configs_own(named):
    own = dict(type=named, graphs=2)
    cfg = Config(dict(custom_hooks=[dict(type="EMAHook"), own]))
    add_graphs(cfg, "auto")
    assert cfg.custom_hooks == [dict(type="EMAHook"), own]
    add_graphs(cfg, 3)
    assert cfg.custom_hooks == [dict(type="EMAHook"), dict(type="GraphHook", graphs=3)]


def test_its_keys_are_checked():
    (unknown,) = unknown_keys(Config(dict(custom_hooks=[dict(type="GraphHook", graph=2)])))
    assert unknown.keys == ("custom_hooks", 0, "graph") and "graphs" in unknown.known


class AgainHook(Hook):
    """What `GraphHook` does, by a recorder that needs no GPU."""

    def before_train(self, runner):
        self.graphs = attach(runner.model, "auto", Again())

    def after_train(self, runner):
        ungraph_model(runner.model)


@pytest.mark.parametrize("make", [detection, segmentation])
def test_a_run_with_averaged_weights_is_the_same_bit_for_bit(tmp_path, make):
    """AdamW, gradients clipped and accumulated over two steps, averaged weights."""
    finals = []
    for name in ("eager", "graphed"):
        cfg = make(tmp_path / name)
        cfg.optim_wrapper.accumulative_counts = 2
        cfg.randomness = dict(seed=0)
        runner = Runner.from_cfg(cfg)
        hook = AgainHook()
        if name == "graphed":
            runner.register_hook(hook)
        runner.train()
        finals.append(runner.model.state_dict())
    assert hook.graphs.replayed > 0
    for name, want in finals[0].items():
        if name in ("rpn_head.rpn_cls.bias", "rpn_head.rpn_reg.bias"):
            # Eager mode sums their gradients over slices of one tensor, in another order.
            torch.testing.assert_close(finals[1][name], want, rtol=1e-6, atol=1e-9)
        else:
            assert torch.equal(finals[1][name], want), name


@pytest.mark.gpu
@needs_gpu
def test_it_trains_what_training_without_it_does(tmp_path, caplog):
    with caplog.at_level("INFO", "mmmamba"):
        graphed = train(tmp_path / "graphed", Model(), dict(type="GraphHook", graphs=1))
    assert sum("captured in" in record.getMessage() for record in caplog.records) == 1
    assert "passes were replayed as CUDA graphs" in caplog.text
    assert "forward" not in graphed.backbone.__dict__
    eager = train(tmp_path / "eager", Model())
    for (name, got), want in zip(graphed.named_parameters(), eager.parameters()):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4, msg=name)
