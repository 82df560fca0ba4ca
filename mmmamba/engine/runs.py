"""Training and testing: one pair of functions for the configs of all libraries."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.runner import Runner

from ..config.quick_optimizer import quicken_optimizer
from ..errors import UsageError
from ..evaluation.classification import count_confusion
from ..evaluation.expected import check_expected, compare, print_comparison
from ..evaluation.summary import KeepMetrics, print_classes, print_summary
from ..exporting.devices import device_of
from ..exporting.files import format_of
from ..exporting.flags import refuse_flags
from . import reliability
from .bare_model import bare_model
from .ddp import choose_ddp
from .file_tests import check_classes, use_file
from .fsdp import refuse_other_fsdp
from .hooks.bad_data import check_data_of
from .hooks.fuse import FuseHook
from .hooks.graphs import add_graphs
from .hooks.pictures import add_pictures
from .hooks.precision import PrecisionHook
from .hooks.run_ahead import add_run_ahead
from .hooks.watching import watched
from .naming import title
from .open_run import open_run, scale_learning_rate, tell_changes
from .outcomes import Tested, Trained
from .precision import Precision, choose_precision
from .preflight import TRAIN_KEYS, check_fit, check_graphs, check_run, check_sections
from .testing import (
    add_output,
    leave_out_averages,
    show_predictions,
    use_test_time_augmentation,
)
from .tf32 import choose_tf32, record_tf32, tf32_products
from .tracking import add_trackers

__all__ = ["NEWEST", "open_run", "test", "train"]

NEWEST = "auto"
"""In the place of a checkpoint to resume: the newest whole one of the work dir."""
_RUNS = count()


def train(
    cfg: Config,
    *,
    resume: str | None = None,
    may_differ: Sequence[str] = (),
    graphs: int | str = "auto",
    tf32: bool | None = None,
    auto_scale_lr: bool = False,
    deterministic: bool = False,
    skip_bad_data: bool = False,
    skip_nan: bool = False,
    pictures: bool = True,
    log_to: Sequence[str] = (),
    replay: str | None = None,
) -> Trained:
    """Train a model.

    Args:
        resume: a checkpoint of this run to go on from, or `NEWEST`.
        may_differ: modules and weights that `load_from` need not fit and that are trained anew.
        graphs: "off", "auto", or the number of sizes of batches that are replayed as CUDA graphs.
        tf32: take float32 products on a GPU in TF32; by default as `choose_tf32` says.
        auto_scale_lr: scale the learning rate to the batch size of this run.
        deterministic: the same numbers from every run on a GPU.
        skip_bad_data: leave bad images and annotations out.
        skip_nan: leave steps out that are not finite.
        pictures: leave pictures in the work dir.
        log_to: names of other places that the log goes to.
        replay: folder of a step that was not finite; do that again instead of training.

    Returns:
        What it left. Of a step that was done again only the exit code, 1 where it is not finite.

    Raises:
        UsageError: something is missing, or does not go together.
        NonFiniteError: a loss or the state of the run is not finite.
    """
    reliability.check_work_dir(cfg.work_dir)
    device = _device()
    check_graphs(graphs, device)
    check_sections(cfg, TRAIN_KEYS)
    # Before the options below: it makes `default_hooks` and the loading hook that they write to.
    reliability.make_reliable(cfg, skip_nan)
    add_pictures(cfg, off=not pictures)
    add_trackers(cfg, log_to)
    add_run_ahead(cfg)
    quicken_optimizer(cfg.get("optim_wrapper") or {})
    # On a CPU `auto` does nothing.
    if graphs != "auto" or device.type == "cuda":
        add_graphs(cfg, graphs)
    if deterministic:
        reliability.make_deterministic(cfg)
    # Asks whether the run is deterministic.
    exactness = choose_tf32(tf32, device, cfg)
    record_tf32(cfg, exactness)
    # Where the config asks for it, by the same rule.
    if auto_scale_lr or (cfg.get("auto_scale_lr") or {}).get("enable"):
        scale_learning_rate(cfg)
    if replay is None:
        resume = reliability.resumed_after_restart(cfg, resume, NEWEST)
    if resume is not None:
        _resume(cfg, resume)
    if may_differ:
        _let_differ(cfg, may_differ)
    # Before the data are asked for and the folder is locked: a saved step has its batch with it and
    # may be replayed while another run trains there.
    if replay is not None:
        return Trained(Path(cfg.work_dir), code=_replay(cfg, replay, exactness))
    check_run(cfg, "train")
    with reliability.claimed(cfg.work_dir, cfg.launcher):
        return _train(cfg, skip_bad_data, exactness)


def test(
    cfg: Config,
    checkpoint: str,
    *,
    out: str | None = None,
    show: bool = False,
    show_dir: str | None = None,
    wait_time: float = 2.0,
    tta: bool = False,
    fuse: bool | None = None,
    precision: str = "auto",
    graphs: int | str = "auto",
    tf32: bool | None = None,
    verify: float | None = None,
) -> Tested:
    """Score a checkpoint, or an exported file.

    Args:
        checkpoint: file or URL; or an exported file, which has its network in it.
        out: where predictions go: a .pkl, or a folder of label maps.
        show: show predictions in a window.
        show_dir: where pictures of predictions go.
        wait_time: seconds each picture is shown.
        tta: test-time augmentation.
        fuse: fold batch norms into convolutions; by default where predictions are in half
            precision.
        precision: of the network, one of `engine.precision.CHOICES`.
        graphs: "off", "auto", or the number of sizes of batches that are replayed as CUDA graphs.
        tf32: take float32 products on a GPU in TF32; by default as `choose_tf32` says.
        verify: points of AP, mIoU or accuracy that metrics may be away from the config's
            `expected`.

    Raises:
        UsageError: something is missing, or does not go together.
    """
    reliability.check_work_dir(cfg.work_dir)
    device = _device()
    exported = format_of(checkpoint) is not None
    if exported:
        _refuse_flags(cfg, checkpoint, tta, fuse, precision, graphs, tf32)
        # A GPU that MMEngine found may be none that the file's runtime can use.
        use_file(cfg, checkpoint, device_of(checkpoint, "cpu" if device.type == "cpu" else None))
    check_graphs(graphs, device)
    chosen = choose_precision(precision, device, cfg)
    exactness = None if exported else choose_tf32(tf32, device, cfg)
    reliability.load_strictly(cfg)
    cfg.resume, cfg.load_from = False, None if exported else checkpoint
    wanted = None if verify is None else check_expected(cfg, tta)
    pictures = show_predictions(cfg, show, show_dir, wait_time)
    if tta:
        use_test_time_augmentation(cfg)
    classifies = cfg.get("default_scope") == "mmpretrain"
    if classifies:
        leave_out_averages(cfg)
    check_run(cfg, "test")
    add_output(cfg, out)
    # In the config, as a run that was trained with graphs has them there already.
    if not exported and device.type == "cuda":
        add_graphs(cfg, graphs)
    _before_building(cfg)
    runner = reliability.build_runner(cfg)
    tell_changes(runner)
    _look_at(runner, skip_bad_data=False)
    if exported:
        check_classes(runner, checkpoint)
    else:
        _add_hooks(runner, chosen, fuse)
    counted = count_confusion(runner.test_loop.evaluator) if classifies else None
    with tf32_products(exactness):
        metrics = runner.test()
    expected = cfg.get("expected")
    if tta and expected:
        expected = {**expected, "metrics": expected.get("metrics_tta", {})}
    print_summary(metrics, f"{title(cfg)}: {checkpoint}", expected)
    # On the main process alone.
    if counted is not None and counted.matrix is not None:
        names = _class_names(runner, len(counted.matrix))
        metrics = {**metrics, "class_accuracy": print_classes(counted.matrix, names)}
    if pictures is not None:
        print(f"Pictures of predictions: {pictures}")
    if wanted is None:
        return Tested(metrics)
    return Tested(metrics, print_comparison(compare(metrics, wanted["metrics"], verify), wanted))


def _add_hooks(runner: Runner, precision: Precision, fuse: bool | None) -> None:
    """What makes the network of a test fast."""
    if precision.is_half if fuse is None else fuse:
        runner.register_hook(FuseHook())
    # Behind it, as it changes the network that it leaves.
    runner.register_hook(PrecisionHook(precision))


def _refuse_flags(
    cfg: Config,
    path: str,
    tta: bool,
    fuse: bool | None,
    precision: str,
    graphs: int | str,
    tf32: bool | None,
) -> None:
    """What is for networks in PyTorch alone."""
    refuse_flags(
        path,
        tta=tta,
        fuse=fuse,
        precision=None if precision == "auto" else precision,
        graphs=None if graphs == "auto" else graphs,
        tf32=None if tf32 is None else "on" if tf32 else "off",
        launcher=None if cfg.launcher == "none" else cfg.launcher,
    )


def _class_names(runner: Runner, count: int) -> list[str]:
    """The names of the classes that are tested, or their numbers where there are none."""
    names = runner.test_loop.dataloader.dataset.metainfo.get("classes") or ()
    return list(names) if len(names) == count else list(map(str, range(count)))


def _device() -> torch.device:
    """Where MMEngine's runner puts the model."""
    return torch.device(get_device())


def _resume(cfg: Config, checkpoint: str) -> None:
    cfg.resume = True
    if checkpoint != NEWEST:
        cfg.load_from = checkpoint
        return
    # What the config begins with serves where there is nothing to resume yet.
    if cfg.get("load_from"):
        cfg.default_hooks.loading.begin_with = cfg.load_from
    cfg.load_from = None


def _let_differ(cfg: Config, names: Sequence[str]) -> None:
    loading = cfg.default_hooks.loading
    loads_weights = cfg.get("load_from") and not cfg.get("resume")
    if not loading.get("begin_with") and not loads_weights:
        raise UsageError(
            "--may-differ says what of load_from need not fit, and there is none: name it with "
            "--cfg-options load_from=PATH"
        )
    loading.may_differ = list(names)


def _train(cfg: Config, skip_bad_data: bool, tf32: bool | None) -> Trained:
    _before_building(cfg)
    runner = reliability.build_training_runner(cfg)
    tell_changes(runner)
    _look_at(runner, skip_bad_data)
    kept = KeepMetrics()
    runner.register_hook(kept)
    code = 0
    try:
        with tf32_products(tf32), watched(runner):
            runner.train()
    except reliability.Interrupted as stop:
        print(f"Saved {stop.path}. Go on: the same command with --resume")
        code = reliability.EXIT_SAVED
    metrics = kept.metrics or {}
    if metrics and not code:
        print_summary(metrics, f"{title(cfg)}: last validation", cfg.get("expected"))
    work_dir = Path(cfg.work_dir)
    best = runner.message_hub.runtime_info.get("best_ckpt")
    # By its name: a run that was copied knows the path of the original.
    return Trained(work_dir, metrics, work_dir / Path(best).name if best else None, code)


def _replay(cfg: Config, folder: str, tf32: bool | None) -> int:
    """Exit code 1 where the step is not finite again."""
    _before_building(cfg)
    runner = reliability.build_runner(cfg)
    _look_at(runner, skip_bad_data=False)
    with tf32_products(tf32):
        finding = reliability.replay(runner, folder)
    print("\n".join(finding.lines()))
    return 0 if finding.finite else 1


def _before_building(cfg: Config) -> None:
    """What MMEngine's runner takes for granted."""
    refuse_other_fsdp(cfg)
    if reliability.restarts_of(cfg):
        reliability.meet_again(cfg)
    choose_ddp(cfg, _device())
    if _device().type == "cpu":
        # There is nothing to pin memory for, which PyTorch would warn of.
        for name in ("train_dataloader", "val_dataloader", "test_dataloader"):
            if (cfg.get(name) or {}).get("pin_memory"):
                cfg[name].pin_memory = False
    if cfg.get("visualizer"):
        # MMEngine hands out the visualizer of that name that an earlier run in this process made,
        # of whatever class.
        cfg.visualizer.name = f"visualizer_{next(_RUNS)}"


def _look_at(runner: Runner, skip_bad_data: bool) -> None:
    """Check a runner's model before it runs, and its data while it does."""
    check_fit(bare_model(runner.model))
    check_data_of(runner, skip_bad_data)
