"""Whatever a flag changes, the rest of a recipe follows, and each change is told."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmmamba.config.changes import apply_flags, rate_for, scale_learning_rate
from mmmamba.errors import UsageError

from .recipes import BY_STEPS, DETECTORS, recipe

IMAGES = 500


def apply(cfg: Config, **flags) -> str:
    return "\n".join(apply_flags(cfg, images=lambda: IMAGES, **flags))


def check_whole(cfg: Config, unit: str, shorter: bool = True) -> None:
    """Schedules end where training ends, and all that happens in it happens."""
    length = cfg.train_cfg[f"max_{unit}"]
    steps = -(-IMAGES // cfg.train_dataloader.batch_size)
    total = length * steps if unit == "epochs" else length
    schedulers = cfg.param_scheduler
    schedulers = schedulers if isinstance(schedulers, list) else [schedulers]
    ends = {False: total, True: length}
    for entry in schedulers:
        by_epoch = entry.get("by_epoch", True)
        assert entry.get("begin", 0) < entry.get("end", 10**9)
        assert "end" not in entry or entry["end"] <= ends[by_epoch]
        assert all(0 < milestone <= ends[by_epoch] for milestone in entry.get("milestones", []))
    last = schedulers[-1]
    assert last.get("end", ends[last.get("by_epoch", True)]) == ends[last.get("by_epoch", True)]
    first = schedulers[0]
    if shorter and len(schedulers) > 1 and not first.get("by_epoch", True):
        assert first["end"] <= max(total // 10 + 1, 1)
    assert 1 <= cfg.train_cfg.get("val_interval", 1) <= length
    saving = cfg.default_hooks.checkpoint
    assert saving.get("by_epoch", True) != (unit == "epochs") or saving.interval <= length
    for hook in cfg.get("custom_hooks", []):
        if hook.type == "PipelineSwitchHook":
            assert min(1, length - 1) <= hook.switch_epoch < length
        if hook.type == "YOLOXModeSwitchHook":
            assert 0 <= length - hook.num_last_epochs - 1 < length
        if hook.type == "EarlyStoppingHook":
            assert hook.patience == 1 or hook.patience + 1 < length // cfg.train_cfg.val_interval
        if hook.type == "YOLOWarmupHook":
            assert max(hook.epochs * steps, hook.min_iters) <= max(total // 10 + 1, 3)
    for begin, interval in cfg.train_cfg.get("dynamic_intervals", []):
        assert begin < length and 1 <= interval <= length


@pytest.mark.parametrize("name", DETECTORS)
def test_epochs(name: str) -> None:
    for epochs in (1, 2, 3, 20):
        cfg = recipe(name)
        told = apply(cfg, epochs=epochs)
        assert cfg.train_cfg.max_epochs == epochs
        assert f"--epochs {epochs}: train_cfg.max_epochs = {epochs}" in told
        check_whole(cfg, "epochs", shorter=epochs < recipe(name).train_cfg.max_epochs)


@pytest.mark.parametrize("name", BY_STEPS)
def test_iterations_and_epochs_of_recipes_that_count_iterations(name: str) -> None:
    for flags in (dict(iters=10), dict(iters=2_000), dict(epochs=3)):
        cfg = recipe(name)
        told = apply(cfg, **flags)
        steps = -(-IMAGES // cfg.train_dataloader.batch_size)
        assert cfg.train_cfg.max_iters == flags.get("iters", 3 * steps)
        assert "train_cfg.max_iters" in told
        check_whole(cfg, "iters")
        # As many validations and checkpoints as in a tenth each, not one every other step.
        assert cfg.train_cfg.val_interval >= min(cfg.train_cfg.max_iters // 10, 5_000)


def test_a_longer_training_keeps_its_warm_up_and_intervals() -> None:
    cfg = recipe("mask_rcnn/vmamba_t_1x_coco")
    cfg.train_dataloader.batch_size = 1

    def images() -> int:
        pytest.fail("the images were counted, which takes long on COCO")

    assert apply_flags(cfg, epochs=24, images=images)
    assert cfg.param_scheduler[0].end == 1000 and cfg.param_scheduler[1].milestones == [16, 22]
    assert cfg.train_cfg.val_interval == 1


def test_schedules_of_steps_in_a_recipe_of_epochs_follow_the_batch() -> None:
    cfg = recipe("mmdet::yolox/yolox_s_8xb8-300e_coco")
    cfg.param_scheduler = dict(type="PolyLR", by_epoch=False, begin=0, end=300 * 63)
    apply(cfg, batch=16)
    assert cfg.param_scheduler[0].end == 300 * 32
    apply(cfg, epochs=10)
    assert cfg.param_scheduler[0].end == 10 * 32


def test_one_rule_for_the_learning_rate() -> None:
    adam, sgd = recipe("yolo/vmamba_t_rtmdet_36e_coco"), recipe("mmdet::tood/tood_r50_fpn_1x_coco")
    told = apply(adam, batch=16)
    assert "lr = 0.00025, was 0.001" in told and "root" in told
    # Where the rate ends, too.
    assert adam.param_scheduler[1].eta_min == 1.3e-5
    assert "lr = 0.0025, was 0.01" in apply(sgd, batch=4)
    # Once scaled, it is for the batch that the run has.
    assert scale_learning_rate(adam, 1) == [] == apply_flags(adam)
    assert "lr = 0.0005" in "".join(scale_learning_rate(adam, 4))


def test_mamba_yolo_keeps_its_rate_from_64_images_on() -> None:
    cfg = recipe("mamba_yolo/mamba_yolo_t_300e_coco")
    settings = {batch: rate_for(cfg, batch).settings for batch in (8, 64, 128, 512)}
    assert settings[512] == dict(lr=0.01, weight_decay=4e-3)
    assert settings[128] == dict(lr=0.01, weight_decay=1e-3)
    assert settings[64] == dict(lr=0.01, weight_decay=5e-4)
    assert settings[8] == dict(lr=0.0013, weight_decay=5e-4)


def test_a_rate_without_a_batch_stays_and_says_so() -> None:
    cfg = recipe("mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512")
    assert "the learning rate stays" in apply(cfg, batch=4)
    assert cfg.optim_wrapper.optimizer.lr == 6e-5
    with pytest.raises(UsageError, match="base_batch_size.*--lr"):
        scale_learning_rate(cfg, 1)


def test_a_rate_that_is_named_has_the_last_word() -> None:
    cfg = recipe("yolo/vmamba_t_rtmdet_36e_coco")
    apply(cfg, batch=16, lr=1e-4)
    assert cfg.optim_wrapper.optimizer.lr == 1e-4 and cfg.param_scheduler[1].eta_min == 5e-6


def test_workers_of_every_loader() -> None:
    cfg = recipe("mask_rcnn/vmamba_t_1x_coco")
    told = apply(cfg, workers=0)
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        assert loader.num_workers == 0 and not loader.persistent_workers
    assert told.count("\n") == 1 and "train_dataloader, val_dataloader, test_dataloader" in (
        told.replace(".num_workers", "")
    )


def test_patience_by_a_flag() -> None:
    cfg = recipe("mamba_yolo/mamba_yolo_t_300e_coco")
    apply(cfg, patience=4)
    assert cfg.custom_hooks[3].patience == 4
    apply(cfg, patience=0)
    assert "EarlyStoppingHook" not in [hook.type for hook in cfg.custom_hooks]
    for name, metric in (
        ("mask_rcnn/vmamba_t_1x_coco", "coco/bbox_mAP"),
        ("upernet/vmamba_t_160k_ade20k-512x512", "mIoU"),
        ("mim_istd/mim_istd_irstd-1k-512x512", "IoU"),
        ("mmdet::pascal_voc/retinanet_r50_fpn_1x_voc0712", "pascal_voc/mAP"),
    ):
        cfg = recipe(name)
        assert f"{metric} has not risen for 2" in apply(cfg, patience=2)
        assert cfg.custom_hooks[-1].monitor == metric


def test_options_have_the_last_word_but_not_on_the_same_thing() -> None:
    cfg = recipe("mask_rcnn/vmamba_t_1x_coco")
    options = {"param_scheduler.1.milestones": [1, 2]}
    cfg.merge_from_dict(options)
    apply(cfg, epochs=3, options=options)
    assert cfg.param_scheduler[1].milestones == [1, 2] and cfg.param_scheduler[1].end == 3
    with pytest.raises(UsageError, match="name one"):
        apply(cfg, epochs=3, options={"train_cfg.max_epochs": 4})
    with pytest.raises(UsageError, match="leaves out schedulers"):
        cfg = recipe("mmdet::yolox/yolox_s_8xb8-300e_coco")
        apply(cfg, epochs=1, options={"param_scheduler.2.factor": 0.5})


@pytest.mark.parametrize(
    ("name", "option", "left"),
    [
        ("mask_rcnn/vmamba_t_1x_coco", "train_cfg.max_epochs", "param_scheduler.1.end = 12"),
        ("mamba_yolo/mamba_yolo_t_300e_coco", "train_cfg.max_epochs", "2.switch_epoch = 290"),
        ("upernet/vmamba_t_160k_ade20k-512x512", "train_cfg.max_iters", "val_interval = 16000"),
    ],
)
def test_a_length_without_its_schedule_is_told(name: str, option: str, left: str) -> None:
    cfg = recipe(name)
    cfg.merge_from_dict({option: 3})
    told = apply(cfg, options={option: 3})
    assert left in told and f"--{option.rpartition('_')[2]} 3 in its place" in told


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (dict(epochs=0), "--epochs is 0"),
        (dict(batch=0), "--batch is 0"),
        (dict(workers=-1), "--workers is -1"),
        (dict(lr=0.0), "--lr is 0"),
        (dict(patience=-1), "--patience is -1"),
        (dict(epochs=1, iters=1), "name one"),
    ],
)
def test_values_that_cannot_be(flags: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        apply(recipe("mask_rcnn/vmamba_t_1x_coco"), **flags)
