"""From a pretraining run to a detector: its folder as weights, rates by depth, frozen stages."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import Runner
from PIL import Image

pytest.importorskip("mmpretrain")

import mmmamba.classification
import mmmamba.detection  # noqa: F401  both, as tests of one process have them
from mmmamba.checkpoints import CheckpointError, load_weights
from mmmamba.config.open import open_config
from mmmamba.errors import UsageError
from mmmamba.models.backbones import MambaVision, Vim, VMamba
from mmmamba.models.trunks.base import MambaBackbone

from ..docs.blocks import blocks

CONFIGS = Path(__file__).parents[2] / "configs"
FAMILIES = MambaBackbone.families()
TINY = dict(type="VMamba", **VMamba.TINY)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps, which averaged its weights and kept the best."""
    folder = tmp_path_factory.mktemp("pretraining")
    for name in ("cats", "dogs"):
        (folder / "images" / name).mkdir(parents=True)
        for n in range(2):
            pixels = np.random.default_rng(n).integers(0, 255, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{n}.png")
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    loader = dict(
        batch_size=2,
        num_workers=0,
        sampler=dict(type="DefaultSampler", shuffle=False),
        collate_fn=dict(type="default_collate"),
        dataset=dict(type="CustomDataset", data_root=str(folder / "images"), pipeline=pipeline),
    )
    runner = Runner(
        model=dict(
            type="ImageClassifier",
            data_preprocessor=dict(num_classes=2),
            backbone=TINY | dict(classifier=True, num_classes=2),
            head=dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss"), topk=(1,)),
        ),
        work_dir=str(folder / "run"),
        train_dataloader=loader,
        val_dataloader=loader,
        val_evaluator=dict(type="Accuracy", topk=(1,)),
        optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        train_cfg=dict(by_epoch=True, max_epochs=1),
        val_cfg=dict(),
        default_hooks=dict(checkpoint=dict(type="AtomicCheckpointHook", save_best="auto")),
        custom_hooks=[dict(type="EMAHook", momentum=0.5, priority=49)],
        default_scope="mmpretrain",
        log_level="WARNING",
        experiment_name=folder.name,
    )
    runner.train()
    return folder / "run"


def detector(folder: Path, **backbone: object) -> dict:
    return dict(
        type="RetinaNet",
        backbone=TINY | dict(init_cfg=dict(type="Pretrained", checkpoint=str(folder))) | backbone,
        neck=dict(type="FPN", in_channels=[32, 64, 128], out_channels=8, num_outs=3),
        bbox_head=dict(
            type="RetinaHead",
            num_classes=2,
            in_channels=8,
            feat_channels=8,
            stacked_convs=1,
            anchor_generator=dict(
                type="AnchorGenerator", scales=[8], ratios=[1.0], strides=[8, 16, 32]
            ),
        ),
    )


def segmentor(folder: Path, **backbone: object) -> dict:
    return dict(
        type="EncoderDecoder",
        backbone=TINY | dict(init_cfg=dict(type="Pretrained", checkpoint=str(folder))) | backbone,
        decode_head=dict(type="FCNHead", in_channels=128, channels=8, num_convs=1, num_classes=2),
    )


def made(scope: str, settings: dict) -> torch.nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(settings)
        model.init_weights()
    return model


@pytest.mark.parametrize(
    ("scope", "kind", "outputs"), [("mmdet", detector, (1, 2, 3)), ("mmseg", segmentor, (3,))]
)
def test_a_runs_folder_starts_a_model(run, caplog, scope, kind, outputs) -> None:
    saved = torch.load(run / "epoch_1.pth", weights_only=False)
    averages = {n.removeprefix("backbone."): t for n, t in saved["state_dict"].items()}
    last = saved["ema_state_dict"]["module.backbone.patch_embed.0.weight"]
    assert not torch.equal(averages["patch_embed.0.weight"], last)
    with caplog.at_level(logging.INFO, logger="mmmamba"):
        backbone = made(scope, kind(run, out_indices=outputs)).backbone
    state = backbone.state_dict()
    assert set(state) - set(averages) == {
        f"outnorm{i}.{leaf}" for i in outputs for leaf in ("weight", "bias")
    }
    assert all(torch.equal(state[name], averages[name]) for name in set(state) & set(averages))
    said = caplog.text
    assert f"VMamba weights from {run / 'best_accuracy_top1_epoch_1.pth'}: " in said
    assert "left out    classifier.norm.weight" in said and "unexpected" not in said
    assert "the averages of the run's EMAHook; its last weights are under key='ema_st" in said


def test_the_last_weights_can_be_had(run) -> None:
    backbone = VMamba(**VMamba.TINY)
    load_weights(backbone, run, key="ema_state_dict")
    saved = torch.load(run / "epoch_1.pth", weights_only=False)["ema_state_dict"]
    name = "patch_embed.0.weight"
    assert torch.equal(backbone.state_dict()[name], saved[f"module.backbone.{name}"])


def test_a_classifier_goes_on_with_its_own(run) -> None:
    classifier = VMamba(**VMamba.TINY, classifier=True, num_classes=2)
    report = load_weights(classifier, run)
    assert not report.missing and not report.unexpected
    other = VMamba(**VMamba.TINY, classifier=True, num_classes=5)
    with pytest.raises(CheckpointError, match="2 tensors have another shape"):
        load_weights(other, run)
    load_weights(other, run, allow_mismatched=[r"classifier\.head\..*"])


def test_which_checkpoint_of_a_folder(tmp_path) -> None:
    def save(name: str, value: float) -> None:
        state = {f"backbone.{n}": torch.full_like(t, value) for n, t in whole.items()}
        torch.save(dict(state_dict=state, meta={}), tmp_path / name)

    backbone = VMamba(**VMamba.TINY)
    whole = VMamba(**VMamba.TINY, classifier=True, num_classes=2).state_dict()
    save("epoch_1.pth", 1.0)
    with pytest.raises(CheckpointError, match=r"is a folder without best.*holds epoch_1.pth"):
        load_weights(backbone, tmp_path)
    save("epoch_2.pth", 2.0)
    (tmp_path / "last_checkpoint").write_text("/elsewhere/epoch_1.pth")
    load_weights(backbone, tmp_path)
    assert backbone.layers[0].blocks[0].op.Ds[0] == 1
    save("best_accuracy_top1_epoch_2.pth", 3.0)
    load_weights(backbone, tmp_path)
    assert backbone.layers[0].blocks[0].op.Ds[0] == 3
    save("best_loss_epoch_1.pth", 4.0)
    with pytest.raises(CheckpointError, match="several best checkpoints: best_acc.*best_loss"):
        load_weights(backbone, tmp_path)


def test_what_does_not_fit_is_an_error(run, tmp_path) -> None:
    with pytest.raises(CheckpointError, match="looks like one of VMamba, not of MambaVision"):
        load_weights(MambaVision(**MambaVision.TINY), run)
    saved = torch.load(run / "epoch_1.pth", weights_only=False)
    saved["state_dict"].pop("backbone.layers.0.blocks.0.op.Ds")
    saved["state_dict"]["backbone.stray"] = torch.ones(1)
    torch.save(saved, tmp_path / "best_accuracy_top1_epoch_1.pth")
    backbone = VMamba(**VMamba.TINY)
    before = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"1 of \d+ tensors are not in the file") as caught:
        load_weights(backbone, tmp_path)
    assert "no place: stray" in str(caught.value)
    assert all(torch.equal(t, before[name]) for name, t in backbone.state_dict().items())


def starts_its_maps(family: type[MambaBackbone]) -> bool:
    """Whether the maps take all that a classifier's run saved, apart from its own ends."""
    classifier = family(**family.TINY, classifier=True, num_classes=2)
    saved = {f"backbone.{name}": tensor for name, tensor in classifier.state_dict().items()}
    report = load_weights(family(**family.TINY), dict(state_dict=saved, meta={}))
    return bool(report.matched) and report.unexpected == report.of_no_use != []


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_familys_classifier_starts_its_maps(family) -> None:
    assert starts_its_maps(family)


@pytest.mark.parametrize("trunk", [VMamba, Vim])
def test_so_does_one_whose_weights_nobody_published(trunk) -> None:
    assert starts_its_maps(type("Own", (trunk,), dict(KEY_MAP=None)))


def groups_of(model: torch.nn.Module, **paramwise: object) -> dict[str, dict]:
    """The settings of every parameter that an optimizer has."""
    settings = dict(
        optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1),
        constructor="LayerDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=0.5) | paramwise,
    )
    names = {id(p): name for name, p in model.named_parameters()}
    groups = build_optim_wrapper(model, settings).optimizer.param_groups
    assert len(groups) < len(names) / 2
    return {names[id(p)]: group for group in groups for p in group["params"]}


@pytest.mark.parametrize("scope", ["mmdet", "mmseg", "mmpretrain"])
def test_rates_fall_towards_the_image(scope, run) -> None:
    head = dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss"))
    classifier = TINY | dict(classifier=True, num_classes=2)
    settings = dict(
        mmdet=detector(run, out_indices=(1, 2, 3), init_cfg=None),
        mmseg=segmentor(run, init_cfg=None),
        mmpretrain=dict(type="ImageClassifier", backbone=classifier, head=head),
    )[scope]
    model = made(scope, settings)
    groups = groups_of(model, norm_decay_mult=0.0)
    blocks = [len(stage.blocks) for stage in model.backbone.layers]
    depths = sum(blocks) + 2
    wanted = {
        "patch_embed.0.weight": 0,
        "layers.0.blocks.0.op.Ds": 1,
        "layers.0.downsample.1.weight": 1 + blocks[0],
        "layers.1.blocks.0.norm.weight": 1 + blocks[0],
        f"layers.3.blocks.{blocks[3] - 1}.op.Ds": depths - 2,
        "classifier.head.weight" if scope == "mmpretrain" else "outnorm3.weight": depths - 1,
    }
    for name, depth in wanted.items():
        group = groups[f"backbone.{name}"]
        assert group["lr"] == 0.5 ** (depths - 1 - depth), name
        assert group["weight_decay"] == (0 if "norm" in name else 0.1)
    assert all(g["lr"] == 1 for n, g in groups.items() if not n.startswith("backbone."))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_every_family_knows_its_depths(family) -> None:
    with torch.device("meta"):
        backbone = family(**family.TINY)
    stages = getattr(backbone, "stages", None)
    blocks = len(backbone.layers) if stages is None else sum(len(s.blocks) for s in stages)
    found = [backbone.get_layer_depth(f"x.{n}", "x.") for n, _ in backbone.named_parameters()]
    assert {depths for _, depths in found} == {blocks + 2}
    assert {depth for depth, _ in found} >= set(range(blocks + 1))
    assert max(depth for depth, _ in found) <= blocks + 1


def test_mmpretrains_own_constructor_asks_for_the_same() -> None:
    head = dict(type="LogitsHead", loss=dict(type="CrossEntropyLoss"))
    backbone = TINY | dict(classifier=True, num_classes=2)
    model = made("mmpretrain", dict(type="ImageClassifier", backbone=backbone, head=head))
    ours = groups_of(model)
    settings = dict(
        optimizer=dict(type="AdamW", lr=1.0, weight_decay=0.1),
        constructor="LearningRateDecayOptimWrapperConstructor",
        paramwise_cfg=dict(layer_decay_rate=0.5),
    )
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        theirs = build_optim_wrapper(model, settings).optimizer.param_groups
    assert {g["param_name"]: g["lr"] for g in theirs} == {n: g["lr"] for n, g in ours.items()}


def test_the_page_shows_configs_that_open(tmp_path: Path) -> None:
    shown = [block.text for block in blocks("docs/pretrain.md") if "../mask_rcnn/" in block.text]
    assert len(shown) == 2
    for text in shown:
        (tmp_path / "mine.py").write_text(text.replace("..", str(CONFIGS)))
        cfg = open_config(tmp_path / "mine.py")
        assert cfg.model.backbone.arch == "vmamba_t" and "init_cfg" in cfg.model.backbone


def test_frozen_stages_have_no_rate() -> None:
    model = made("mmseg", segmentor(Path(), init_cfg=None, frozen_stages=2))
    groups = groups_of(model)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    assert not any(name.startswith("backbone.layers.1.blocks") for name in learning)
    assert any(name.startswith("backbone.layers.2.blocks") for name in learning)
    assert learning <= set(groups)


def test_rates_that_cannot_be_are_named() -> None:
    model = made("mmseg", segmentor(Path(), init_cfg=None))
    with pytest.raises(UsageError, match="layer_decay_rate is 2, wanted a number above 0"):
        groups_of(model, layer_decay_rate=2)
    model.backbone = torch.nn.Conv2d(3, 8, 1)
    with pytest.raises(UsageError, match="has a Conv2d, wanted a backbone with get_layer_depth"):
        groups_of(model)
