"""What there is under a name: backbones, configs, published weights."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...checkpoints.published import Published, list_published
from ...config.find import config_name, list_configs
from ...models.backbones import list_backbones
from ...models.backbones.sizes import SIZES
from .page import family_of

TABLES = ("backbones", "configs", "weights")


def list_everything(
    pattern: str = "*", tables: Iterable[str] = TABLES
) -> dict[str, list[dict[str, Any]]]:
    """Rows of plain values for each table, of all whose name matches: a shell pattern, or any part of a name."""
    if not any(sign in pattern for sign in "*?["):
        pattern = f"*{pattern}*"
    rows = {
        "backbones": lambda: [_backbone(name) for name in list_backbones(pattern)],
        "configs": lambda: [_config(path) for path in list_configs(pattern)],
        "weights": lambda: [
            _weights(entry)
            for entry in list_published()
            if fnmatchcase(entry.name, pattern) or fnmatchcase(file_name(entry.url), pattern)
        ],
    }
    return {table: rows[table]() for table in tables}


def known_names() -> list[str]:
    """Everything that a pattern may name."""
    configs = [name for path in list_configs() for name in (config_name(path), path.stem)]
    return [*list_backbones(), *configs, *(file_name(p.url) for p in list_published())]


def file_name(url: str) -> str:
    return url.rstrip("/").rsplit("/", 1)[-1]


def _backbone(name: str) -> dict[str, Any]:
    """Sizes are those that the authors print; None where they print none."""
    size = SIZES.get(name)
    published = list_published(name, "classification")
    top1 = published[0].expected["top1"] if published else size.top1 if size else None
    return {
        "name": name,
        "family": family_of(name),
        "image": size.size if size else None,
        "parameters_m": float(size.parameters) if size else None,
        "gflops": float(size.gflops) if size and size.gflops else None,
        "top1": top1,
        "weights": bool(published),
    }


def _config(path: Path) -> dict[str, Any]:
    cfg = Config.fromfile(path, import_custom_modules=False)
    expected = cfg.get("expected") or {}
    return {
        "name": config_name(path),
        "path": str(path),
        "backbone": cfg.model.backbone.arch,
        "metrics": dict(expected.get("metrics", {})),
        "verified": bool(expected.get("verified", False)),
    }


def _weights(entry: Published) -> dict[str, Any]:
    return asdict(entry) | {"results": entry.results, "expected": dict(entry.expected)}
