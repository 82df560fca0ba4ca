"""Training and testing from the command line: one pair of commands for MMDetection's and
MMSegmentation's configs."""

from __future__ import annotations

import argparse
import os
import sys
from itertools import count
from pathlib import Path

import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch.distributed.fsdp import FullyShardedDataParallel

from ..config.find import find_config
from ..config.keys import check_keys
from ..config.options import check_options
from ..config.read import read_config
from ..config.values import check_values
from ..errors import NonFiniteError, UsageError
from ..evaluation.expected import check_expected, compare, print_comparison
from ..evaluation.summary import KeepMetrics, print_summary
from .bare_model import bare_model
from .demo import apply_demo
from .hooks.bad_data import check_data_of
from .hooks.fuse import FuseHook
from .hooks.graphs import add_graphs
from .hooks.pictures import add_pictures
from .preflight import TRAIN_KEYS, check_fit, check_run, check_sections
from .reliability import load_strictly, make_reliable
from .reliability.deterministic import make_deterministic
from .reliability.interrupt import EXIT_SAVED, Interrupted
from .reliability.last_checkpoint import find_last
from .reliability.nan_report import replay
from .reliability.resume.changed import ChangedHook
from .reliability.run_config import build_runner, check_place
from .reliability.safe_loading import refuse_pickled_messages
from .reliability.work_dir import check_work_dir, claimed
from .testing import add_output, show_predictions, use_test_time_augmentation
from .tracking import add_trackers

_RUNS = count()


def load_config(args: argparse.Namespace) -> Config:
    """Read a config, apply the demo and `--cfg-options`, settle the work dir.

    Raises:
        UsageError: the file is not there or cannot be read, a key of it or an option leads nowhere,
            or a value is no number of the kind that is wanted.
    """
    path = find_config(args.config)
    cfg = read_config(path)
    cfg.launcher = args.launcher
    os.environ.setdefault("LOCAL_RANK", str(args.local_rank))
    if args.work_dir is not None:
        cfg.work_dir = args.work_dir
    elif cfg.get("work_dir") is None:
        cfg.work_dir = str(Path("work_dirs") / (path.stem + ("_demo" if args.demo else "")))
    if args.demo:
        apply_demo(cfg, Path(cfg.work_dir) / "shapes")
    check_options(cfg, args.cfg_options)
    cfg.merge_from_dict(args.cfg_options)
    # Before the keys are looked at: the other wrapper takes more of them.
    if getattr(args, "amp", False) and "optim_wrapper" in cfg:
        cfg.optim_wrapper.type = "AmpOptimWrapper"
        cfg.optim_wrapper.setdefault("loss_scale", "dynamic")
    check_keys(cfg, args.cfg_options)
    check_values(cfg, args.cfg_options)
    return cfg


def _build_runner(cfg: Config, skip_bad_data: bool = False, training: bool = False) -> Runner:
    if cfg.launcher == "pytorch" and not torch.cuda.is_available():
        _distribute_without_gpu(cfg)
    if cfg.get("visualizer"):
        # MMEngine hands out the visualizer of that name that an earlier run in this process made,
        # of whatever class.
        cfg.visualizer.name = f"visualizer_{next(_RUNS)}"
    runner = build_runner(cfg, training)
    if cfg.get("default_scope") == "mmdet":
        refuse_pickled_messages()
    # A sharded model can only be passed through whole; its first pass looks.
    if not isinstance(runner.model, FullyShardedDataParallel):
        check_fit(bare_model(runner.model))
    check_data_of(runner, skip_bad_data)
    return runner


def _distribute_without_gpu(cfg: Config) -> None:
    """MMEngine's own start of several processes picks a CUDA device for each."""
    print_log("no GPU: the processes run on the CPU and talk through gloo", logger="current")
    torch.distributed.init_process_group("gloo")
    cfg.model_wrapper_cfg = dict(
        type="MMDistributedDataParallel",
        device_ids=None,
        broadcast_buffers=False,
        find_unused_parameters=cfg.get("find_unused_parameters", False),
    )


def run_train(args: argparse.Namespace) -> int:
    """Train a model; the return value is the process's exit code."""
    cfg = load_config(args)
    check_work_dir(cfg.work_dir)
    check_sections(cfg, TRAIN_KEYS)
    make_reliable(cfg, args.skip_nan)
    add_pictures(cfg, args.no_pictures)
    add_trackers(cfg, args.log_to)
    if args.graphs is not None:
        add_graphs(cfg, args.graphs)
    if args.deterministic:
        make_deterministic(cfg)
    if args.auto_scale_lr:
        if "base_batch_size" not in (cfg.get("auto_scale_lr") or {}):
            raise UsageError(
                "--auto-scale-lr needs auto_scale_lr=dict(base_batch_size=...) in the config: the "
                "batch size that its learning rate was chosen for"
            )
        cfg.auto_scale_lr.enable = True
    if args.resume is not None:
        cfg.resume = True
        if args.resume == "auto" and cfg.get("load_from"):
            cfg.default_hooks.loading.begin_with = cfg.load_from
        cfg.load_from = None if args.resume == "auto" else args.resume
    if args.may_differ:
        loading = cfg.default_hooks.loading
        if not (loading.get("begin_with") or (cfg.get("load_from") and not cfg.get("resume"))):
            raise UsageError(
                "--may-differ says what of load_from need not fit, and there is none: name it with "
                "--cfg-options load_from=PATH"
            )
        loading.may_differ = args.may_differ
    if args.replay is not None:
        return _replay(cfg, args.replay)
    check_run(cfg, "train")
    with claimed(cfg.work_dir, cfg.launcher):
        return _train(cfg, args)


def _train(cfg: Config, args: argparse.Namespace) -> int:
    check_place(cfg.work_dir)
    runner = _build_runner(cfg, args.skip_bad_data, training=True)
    kept = KeepMetrics()
    runner.register_hook(kept)
    # Before a checkpoint is refused, which a change of the config may be the reason of.
    runner.register_hook(ChangedHook(), priority="HIGHEST")
    try:
        runner.train()
    except Interrupted as stop:
        print(f"Saved {stop.path}. Go on: the same command with --resume")
        return EXIT_SAVED
    except NonFiniteError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if kept.metrics:
        print_summary(
            kept.metrics, f"{Path(args.config).stem}: last validation", cfg.get("expected")
        )
    return 0


def _replay(cfg: Config, folder: str) -> int:
    """Exit code 1 where the step is not finite again."""
    finding = replay(_build_runner(cfg), folder)
    print("\n".join(finding.lines()))
    return 0 if finding.finite else 1


def run_test(args: argparse.Namespace) -> int:
    """Test a model; the return value is the process's exit code."""
    cfg = load_config(args)
    check_work_dir(cfg.work_dir)
    load_strictly(cfg)
    cfg.resume = False
    cfg.load_from = args.checkpoint or (_latest_checkpoint(cfg) if args.demo else None)
    if cfg.load_from is None:
        raise UsageError(f"name a checkpoint to test: tools/test.py {args.config} CHECKPOINT")
    wanted = None if args.verify is None else check_expected(cfg, args.tta)
    show_dir = args.show_dir or (str(Path(cfg.work_dir) / "predictions") if args.demo else None)
    pictures = show_predictions(cfg, args.show, show_dir, args.wait_time)
    if args.tta:
        use_test_time_augmentation(cfg)
    check_run(cfg, "test")
    add_output(cfg, args.out)
    runner = _build_runner(cfg)
    if args.fuse:
        runner.register_hook(FuseHook())
    metrics = runner.test()
    expected = cfg.get("expected")
    if args.tta and expected:
        expected = {**expected, "metrics": expected.get("metrics_tta", {})}
    print_summary(metrics, f"{Path(args.config).stem}: {cfg.load_from}", expected)
    if pictures is not None:
        print(f"Pictures of predictions: {pictures}")
    if wanted is None:
        return 0
    return 0 if print_comparison(compare(metrics, wanted["metrics"], args.verify), wanted) else 1


def _latest_checkpoint(cfg: ConfigDict) -> str:
    latest = find_last(cfg.work_dir)
    if not latest:
        raise UsageError(
            f"no checkpoint in {cfg.work_dir}; train first: tools/train.py {cfg.filename} --demo"
        )
    return latest
