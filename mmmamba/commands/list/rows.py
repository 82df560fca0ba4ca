"""What there is under a name: backbones, configs, published weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...checkpoints import Published, Size, list_published
from ...checkpoints.catalogue import published_sizes
from ...config.find import config_name, list_configs
from ...config.foreign import PACKAGES, foreign_name, method_path
from ...config.methods import MASKS, METHODS, refused
from ...config.read import shipped_files_read_once
from ...models.backbones import list_backbones
from ...models.backbones.factory import family_of
from ..new.classifier import CLASSIFIER
from ..new.heads import HEADS, MASK_HEADS, SEGMENTATION_HEADS

TABLES = ("backbones", "configs", "weights", "heads")
DEFAULT = TABLES[:3]
"""Without a choice. The heads of other packages are many."""
BOXES, OBJECTS, MAPS, FOLDERS = "boxes", "masks", "label maps", "classes"
"""What a head learns from."""


def list_everything(
    pattern: str = "*", tables: Iterable[str] = DEFAULT
) -> dict[str, list[dict[str, Any]]]:
    """Rows of plain values for each table, of all whose name matches.

    Args:
        pattern: a shell pattern, or any part of a name.
    """
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    makers = {"backbones": _backbones, "configs": _configs, "weights": _weights, "heads": _heads}
    return {table: makers[table](pattern) for table in tables}


def known_names() -> list[str]:
    """Everything that a pattern may name."""
    names = list_backbones()
    for path in list_configs():
        names += [config_name(path), path.stem]
    names += [row["name"] for row in _heads("*")]
    return names + [file_name(file.url) for file in list_published()]


def file_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def top1_of(name: str, size: Size | None) -> float | None:
    """A variant's accuracy: that of the published weights, else what its authors print."""
    if files := list_published(name, "classification"):
        return files[0].expected["top1"]
    return size.top1 if size else None


def _backbones(pattern: str) -> list[dict[str, Any]]:
    sizes = published_sizes()
    return [_backbone(name, sizes.get(name)) for name in list_backbones(pattern)]


def _backbone(name: str, size: Size | None) -> dict[str, Any]:
    """Sizes are those that the authors print; None where they print none."""
    return {
        "name": name,
        "family": family_of(name).__name__,
        "image": size.size if size else None,
        "parameters_m": float(size.parameters) if size else None,
        "gflops": float(size.gflops) if size and size.gflops else None,
        "top1": top1_of(name, size),
        "weights": bool(list_published(name, "classification")),
    }


def _configs(pattern: str) -> list[dict[str, Any]]:
    with shipped_files_read_once():
        return [_config(path) for path in list_configs(pattern)]


def _config(path: Path) -> dict[str, Any]:
    # Only values are read: what the config would import takes seconds, for each of them.
    cfg = Config.fromfile(path, import_custom_modules=False)
    expected = cfg.get("expected") or {}
    return {
        "name": config_name(path),
        "path": str(path),
        "backbone": cfg.model.backbone.arch,
        "metrics": dict(expected.get("metrics", {})),
        "verified": bool(expected.get("verified", False)),
    }


def _weights(pattern: str) -> list[dict[str, Any]]:
    return [_file(file) for file in list_published() if _matches(file, pattern)]


def _matches(file: Published, pattern: str) -> bool:
    return fnmatchcase(file.name, pattern) or fnmatchcase(file_name(file.url), pattern)


def _file(file: Published) -> dict[str, Any]:
    return asdict(file) | {"results": file.results, "expected": dict(file.expected)}


def _heads(pattern: str) -> list[dict[str, Any]]:
    """What `new --head` takes by a short name: ours first, then the methods of mmdet and mmseg."""
    rows = [dict(name=name, config=None, data=_data_of(name), why_not=None) for name in HEADS]
    rows.append(dict(name=CLASSIFIER, config=None, data=FOLDERS, why_not=None))
    for package in PACKAGES:
        for method in METHODS[package]:
            taken = method in HEADS or (package == "mmseg" and method in METHODS["mmdet"])
            rows.append(
                dict(
                    name=f"{package}::{method}" if taken else method,
                    config=foreign_name(package, method_path(package, method)),
                    data=MAPS if package == "mmseg" else OBJECTS if method in MASKS else BOXES,
                    why_not=refused(f"{package}/{method}"),
                )
            )
    return [row for row in rows if fnmatchcase(row["name"], pattern)]


def _data_of(head: str) -> str:
    return MAPS if head in SEGMENTATION_HEADS else OBJECTS if head in MASK_HEADS else BOXES
