"""Checks of a configuration's files before any model is built."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

from ..acceleration.graphs import check_graphs as known_graphs
from ..config.changes.tiles import JOINED, is_tiled
from ..config.signatures import class_name
from ..datasets.checks.kinds import KINDS
from ..datasets.checks.splits import as_list, config_splits
from ..datasets.checks.usable import check_usable
from ..datasets.nodes import plain_datasets
from ..errors import UsageError
from ..models.map_check import MapError, check_maps
from ..suggest import did_you_mean

TRAIN_KEYS = ("model", "train_dataloader", "train_cfg", "optim_wrapper")
"""Sections of a config that training reads."""
TEST_KEYS = ("model", "test_dataloader", "test_cfg", "test_evaluator")
"""Sections of a config that a test reads."""
OF_WHOLE_IMAGES = ("CocoMetric", "FasterCocoMetric", "LVISMetric", "VOCMetric")
SHOWN = 3
"""Examples of each problem of the data."""


def check_run(cfg: Config, mode: str) -> None:
    """Check that everything a run reads is there.

    Args:
        mode: "train" or "test".

    Raises:
        UsageError: a section of the config, a data set, an annotation file or a checkpoint is
            missing, mixed precision was asked for without a GPU, or data and config do not go
            together. All missing files stand in one message.
    """
    splits = ("train", "val") if mode == "train" else ("test",)
    check_sections(cfg, TRAIN_KEYS if mode == "train" else TEST_KEYS)
    check_data(cfg, splits)
    check_tiles(cfg, splits)
    check_checkpoints(cfg, mode)
    if mode == "train":
        check_precision(cfg)
    # Last, as it builds the data sets and reads all of their annotations.
    check_annotations(cfg, splits)


def check_sections(cfg: Config, wanted: tuple[str, ...]) -> None:
    """The sections that a loop needs are there."""
    missing = [key for key in wanted if cfg.get(key) is None]
    if missing:
        others = [key for key in cfg if key not in wanted]
        hints = "".join(did_you_mean(key, others, 3) for key in missing)
        raise UsageError(
            f"{cfg.filename} has no {', '.join(missing)}.{hints} Inherit them through _base_ or "
            "add them."
        )


def check_data(cfg: Config, splits: tuple[str, ...]) -> None:
    """Images and annotations of the named splits are on disk.

    Addresses with a scheme (`s3://`) are left alone.
    """
    missing = []
    for split in splits:
        for where, path in _named_files(cfg, split):
            if _is_local(path) and not Path(path).exists():
                missing.append((where, path))
    if not missing:
        return
    lines = "\n".join(f"  {path}  ({where})" for where, path in dict.fromkeys(missing))
    first = next(iter(dataset_roots(_get(cfg, f"{splits[0]}_dataloader", "dataset"))), "data")
    raise UsageError(
        f"the data set is not there. Missing, seen from {Path.cwd()}:\n{lines}\n"
        f"Put or link it there (ln -s /path/to/it {first.rstrip('/')}), or name another place: "
        f"--cfg-options {splits[0]}_dataloader.dataset.data_root=/path/ (and likewise for the "
        "other splits and the evaluators' ann_file). To try without a data set: --demo"
    )


def _named_files(cfg: Config, split: str) -> Iterator[tuple[str, str]]:
    """Files and folders that a split reads, each behind the section that names it."""
    for path in dataset_paths(_get(cfg, f"{split}_dataloader", "dataset")):
        yield f"{split}_dataloader", path
    evaluators = cfg.get(f"{split}_evaluator") or []
    for evaluator in evaluators if isinstance(evaluators, (list, tuple)) else [evaluators]:
        if isinstance(evaluator.get("ann_file"), str):
            yield f"{split}_evaluator", evaluator["ann_file"]


def check_tiles(cfg: Config, splits: tuple[str, ...]) -> None:
    """Tiles are scored by what joins them, whole images by what does not, and neither is drawn.

    Raises:
        UsageError: AP would be that of tiles taken for images.
    """
    for split in splits:
        tiled = is_tiled(_get(cfg, f"{split}_dataloader", "dataset"))
        kinds = [class_name(one.get("type", "")) for one in as_list(cfg.get(f"{split}_evaluator"))]
        for kind in kinds:
            if tiled and kind in OF_WHOLE_IMAGES:
                raise UsageError(
                    f"{split}_dataloader gives tiles, and {split}_evaluator is a {kind}, which "
                    f"takes each for an image: type='{JOINED}' joins them"
                )
            if kind == JOINED and not tiled:
                raise UsageError(
                    f"{split}_evaluator is a {JOINED}, and {split}_dataloader gives whole images: "
                    "wrap its data set in TiledDataset (--tile), or take CocoMetric"
                )
        if tiled and split != "train" and _get(cfg, "default_hooks", "visualization", "draw"):
            raise UsageError(
                "mmdet's visualization hook (--show, --show-dir, draw=True) would draw what is "
                "found in tiles on whole images. mmmamba infer --tile draws the images that they "
                "make up"
            )


def check_annotations(cfg: Config, splits: tuple[str, ...]) -> None:
    """Classes, heads and annotations of the named splits go together.

    No image is read. Lesser faults are logged.

    Raises:
        UsageError: training would fail, or AP would be 0 or -1.
    """
    lines = []
    for split in config_splits(cfg, splits):
        dataset = type(split.dataset).__name__
        if not split.is_known or "://" in str(split.dataset.ann_file):
            print_log(
                f"annotations of the {dataset} of {split.name}_dataloader are not checked",
                logger="current",
            )
            continue
        report = check_usable(cfg, split)
        for kind, findings in report.examples.items():
            told = [f"{split.name}: {KINDS[kind].title} ({KINDS[kind].advice})"]
            told += [f"  {finding}" for finding in findings[:SHOWN]]
            more = report.counts[kind] - SHOWN
            if more > 0:
                told.append(f"  … and {more} more")
            if KINDS[kind].severity == "stop":
                lines += told
            elif KINDS[kind].severity == "fault":
                print_log("\n".join(told), "current", 30)
    if lines:
        text = "\n".join(dict.fromkeys(lines))
        raise UsageError(
            f"data and config do not go together.\n{text}\nAll checks: mmmamba check-data "
            f"{cfg.filename}"
        )


def dataset_paths(dataset: Any) -> Iterator[str]:
    """Files and folders a data set's config names, wrapped data sets included."""
    for node in plain_datasets(dataset):
        root = node.get("data_root") or ""
        prefix = node.get("data_prefix") or {}
        # mmpretrain takes the folder alone, too.
        folders = [prefix] if isinstance(prefix, str) else list(prefix.values())
        # Its ImageNet calls them after the split.
        folders += [node["split"]] if node.get("split") and not prefix else []
        for part in [node.get("ann_file"), *folders]:
            if isinstance(part, str) and part:
                complete = Path(part).is_absolute() or not _is_local(part)
                yield part if complete else str(Path(root) / part)


def dataset_roots(dataset: Any) -> Iterator[str]:
    """The `data_root` of each data set."""
    return (node["data_root"] for node in plain_datasets(dataset) if node.get("data_root"))


def check_checkpoints(cfg: Config, mode: str) -> None:
    """Checkpoint files named by the config or the command line are on disk."""
    named = [("load_from", cfg.get("load_from"))]
    # A test initialises no weights, and `load_from` that need not fit everywhere leaves some to it.
    may_differ = _get(cfg, "default_hooks", "loading", "may_differ")
    if mode == "train" and (not cfg.get("load_from") or may_differ):
        named += list(_pretrained(cfg.get("model"), "model"))
    for where, path in named:
        if path is not None and not isinstance(path, (str, Path)):
            raise UsageError(
                f"{where} is {path!r}, wanted the path or URL of one checkpoint. --cfg-options "
                "makes a list of what has a comma in it: rename the file, or name it in the config"
            )
        if isinstance(path, str) and _is_local(path) and not Path(path).is_file():
            found = f"{path} is a folder" if Path(path).is_dir() else f"there is no file {path}"
            siblings = [str(sibling) for sibling in Path(path).parent.glob("*.pth")]
            raise UsageError(
                f"checkpoint not found ({where}): {found}, seen from "
                f"{Path.cwd()}.{did_you_mean(path, siblings, 3)}"
            )


def _pretrained(node: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Checkpoints of `init_cfg` anywhere below a node."""
    if isinstance(node, dict):
        init_cfg = node.get("init_cfg")
        if isinstance(init_cfg, dict) and init_cfg.get("type") == "Pretrained":
            yield f"{where}.init_cfg", init_cfg.get("checkpoint")
        for key, value in node.items():
            yield from _pretrained(value, f"{where}.{key}")
    elif isinstance(node, (list, tuple)):
        for index, value in enumerate(node):
            yield from _pretrained(value, f"{where}.{index}")


def check_precision(cfg: Config) -> None:
    """Mixed precision has a device that it works on."""
    if cfg.optim_wrapper.get("type") == "AmpOptimWrapper" and get_device() == "cpu":
        raise UsageError(
            "this run asks for mixed precision (--amp or optim_wrapper.type='AmpOptimWrapper'), "
            "which needs a GPU, and this run is on the CPU. Train in float32 with --cfg-options "
            "optim_wrapper.type=OptimWrapper, or try --demo"
        )


def check_graphs(graphs: int | str, device: torch.device) -> None:
    """CUDA graphs are asked for in words that mean something, and where they can be had.

    Raises:
        UsageError: `graphs` is neither "off" nor "auto" nor a number of sizes, or it is a number
            and the device no GPU.
    """
    try:
        known_graphs(graphs)
    except ValueError as error:
        raise UsageError(str(error)) from error
    if graphs in ("off", "auto"):
        return
    if device.type != "cuda":
        raise UsageError(
            f"--graphs {graphs} asks for CUDA graphs, and this runs on {device}, which has none. "
            "Leave it at auto, which takes them where there is a GPU"
        )


def check_fit(model: torch.nn.Module) -> None:
    """The maps or logits of the backbone are those that neck and heads were built for.

    Raises:
        UsageError: with the lines to write into the config.
    """
    head, backbone = getattr(model, "head", None), getattr(model, "backbone", None)
    # By its name, as it needs mmpretrain.
    if type(head).__name__ == "LogitsHead" and not getattr(backbone, "is_classifier", True):
        raise UsageError(
            f"LogitsHead takes logits, and {type(backbone).__name__} gives maps. Write "
            "backbone=dict(classifier=True, num_classes=...) into the config's model"
        )
    try:
        check_maps(model)
    except MapError as error:
        raise UsageError(str(error)) from error


def _get(cfg: Config, *keys: str) -> Any:
    node: Any = cfg
    for key in keys:
        # MMEngine's Config is no dictionary, its sections are.
        node = node.get(key) if isinstance(node, dict) or node is cfg else None
        if node is None:
            return None
    return node


def _is_local(path: str) -> bool:
    return "://" not in path
