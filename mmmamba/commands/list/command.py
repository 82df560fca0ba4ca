"""`mmmamba list`: backbones, configs, published weights and heads."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from ...errors import UsageError
from ...suggest import did_you_mean
from .rows import DEFAULT, TABLES, file_name, known_names, list_everything

METRICS = {
    "accuracy/top1": "top-1",
    "coco/bbox_mAP": "box AP",
    "coco/segm_mAP": "mask AP",
    "mIoU": "mIoU",
}
PLAIN_WIDTH = 160
"""Columns of a file or a pipe, where nothing says how wide it is."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="PATTERN",
        help="a part of a name, or a shell pattern such as '*vision*' (all)",
    )
    for table in TABLES:
        parser.add_argument(f"--{table}", action="store_true", help=f"only the {table}")
    parser.add_argument(
        "--json", action="store_true", help="for a program: one object with a list for each table"
    )


def run(args: argparse.Namespace) -> int:
    chosen = [table for table in TABLES if getattr(args, table)]
    chosen = chosen or list(DEFAULT if args.pattern == "*" else TABLES)
    rows = list_everything(args.pattern, chosen)
    if not any(rows.values()):
        hint = did_you_mean(args.pattern, known_names(), 3)
        raise UsageError(f"no {' or '.join(chosen)} match {args.pattern!r}.{hint}")
    if args.json:
        print(json.dumps(rows, indent=2))
        return 0
    console = Console(highlight=False)
    # In a file or a pipe rich would take 80 columns and fold the names.
    if not console.is_terminal:
        console = Console(highlight=False, width=PLAIN_WIDTH)
    draw = {"backbones": _backbones, "configs": _configs, "weights": _weights, "heads": _heads}
    for table in chosen:
        if rows[table]:
            console.print(draw[table](rows[table]))
    return 0


def _table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def _text(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _backbones(rows: list[dict[str, Any]]) -> Table:
    numbers = ("image", "params, M", "GFLOPs", "top-1")
    table = _table(
        "Backbones (sizes and top-1 as their authors print them, of the classifier)",
        "name",
        "family",
        *numbers,
        "ImageNet weights",
        right=numbers,
    )
    for row in rows:
        cells = [_text(row[key]) for key in ("image", "parameters_m", "gflops", "top1")]
        table.add_row(row["name"], row["family"], *cells, "published" if row["weights"] else "–")
    return table


def _configs(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "Configs (results in percent, published by the authors)",
        "name",
        "backbone",
        *METRICS.values(),
        "reproduced here",
        right=tuple(METRICS.values()),
    )
    for row in rows:
        scores = row["metrics"]
        # Configs keep mmdet's shares for AP, mmseg's mIoU is in percent already.
        cells = [
            f"{scores[key] * (100 if 'AP' in key else 1):.1f}" if key in scores else "–"
            for key in METRICS
        ]
        reproduced = "–" if not scores else "yes" if row["verified"] else "not yet"
        table.add_row(row["name"], row["backbone"], *cells, reproduced)
    return table


def _weights(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "Published weights (mmmamba download NAME --task TASK)",
        "name",
        "task",
        "results",
        "licence",
        "file",
    )
    for row in rows:
        file = "by hand, from its page" if row["page"] else file_name(row["url"])
        table.add_row(row["name"], row["task"], row["results"], row["licence"].split(" (")[0], file)
    return table


def _heads(rows: list[dict[str, Any]]) -> Table:
    table = _table(
        "Heads (mmmamba new --head NAME; others of mmdet and mmseg: mmdet::…, mmseg::…)",
        "name",
        "learns from",
        "config",
        "why not",
    )
    for row in rows:
        table.add_row(row["name"], row["data"], row["config"] or "ours", row["why_not"] or "")
    return table
