"""The hook that trains backbones by CUDA graphs, in runs of mmengine's runner."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel
from mmengine.runner import Runner

from mmmamba.config.keys import unknown_keys
from mmmamba.engine.hooks.graphs import GraphBackboneHook, add_graphs
from mmmamba.errors import UsageError
from mmmamba.models.backbones import VMamba

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
def test_a_run_on_a_cpu_is_told_so(tmp_path):
    with pytest.raises(
        UsageError, match="wants a backbone on a CUDA device, but this run has it on cpu"
    ):
        train(tmp_path, Model(), dict(type="GraphBackboneHook"))


def test_a_model_without_a_backbone_is_told_so(tmp_path):
    with pytest.raises(UsageError, match="Model has none"):
        train(tmp_path, Model("trunk"), dict(type="GraphBackboneHook"))


@pytest.mark.parametrize(
    "named", ["GraphBackboneHook", "mmmamba.GraphBackboneHook", GraphBackboneHook]
)
def test_the_command_takes_the_place_of_the_configs_own(named):
    cfg = Config(dict(custom_hooks=[dict(type="EMAHook"), dict(type=named, max_sizes=2)]))
    add_graphs(cfg, 3)
    assert cfg.custom_hooks == [dict(type="EMAHook"), dict(type="GraphBackboneHook", max_sizes=3)]


def test_its_keys_are_checked():
    (unknown,) = unknown_keys(
        Config(dict(custom_hooks=[dict(type="GraphBackboneHook", max_size=2)]))
    )
    assert unknown.keys == ("custom_hooks", 0, "max_size") and "max_sizes" in unknown.known


@pytest.mark.gpu
@needs_gpu
def test_it_trains_what_training_without_it_does(tmp_path, caplog):
    with caplog.at_level("INFO", "mmmamba"):
        graphed = train(tmp_path / "graphed", Model(), dict(type="GraphBackboneHook", max_sizes=1))
    assert sum("captured in" in record.getMessage() for record in caplog.records) == 1
    assert "forward" not in graphed.backbone.__dict__
    eager = train(tmp_path / "eager", Model())
    for (name, got), want in zip(graphed.named_parameters(), eager.parameters()):
        torch.testing.assert_close(got, want, rtol=1e-3, atol=1e-4, msg=name)


@pytest.mark.gpu
@needs_gpu
def test_what_cannot_be_captured_is_told_before_training(tmp_path):
    model = Model()
    model.backbone.layers[0].with_cp = True
    with pytest.raises(UsageError, match="with_cp=True"):
        train(tmp_path, model, dict(type="GraphBackboneHook"))
