"""Write the tables of docs/drop_in.md and docs/drop_in_sweep.md anew.

python benchmarks/drop_in/page.py
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.drop_in.cases import BACKBONES, CASES, CONTROL
from benchmarks.drop_in.known import NEEDS, reason
from mmmamba.models.drop_in.families import FAMILIES

PAGE = ROOT / "docs" / "drop_in_sweep.md"
GUIDE = ROOT / "docs" / "drop_in.md"
RESULTS = Path(__file__).with_name("results.json")
RULES_BEGIN = "<!-- rules of the families, made by benchmarks/drop_in/page.py -->\n"
KINDS_BEGIN, KINDS_END = "<!-- made by benchmarks/drop_in/page.py -->\n", "<!-- end -->\n"
COLUMNS = (CONTROL, *BACKBONES)
INTRODUCTION = """\
# Every method, each backbone

Written by `python benchmarks/drop_in/page.py` from `benchmarks/drop_in/results.json`; do not edit.
One config of each folder of mmdet's and mmseg's configs, the plainest, as shipped and with the
backbone exchanged by the rules of [In a config you have](drop_in.md). Each is built without
pretrained weights and trained one step on two small images, of which a detector's second has no
objects; ✓ says that the losses are finite, every parameter that is trained got a gradient, and
another image, nearly always with odd sides, was predicted. It says that a method runs, not how
well it learns.
"""
WHAT_TO_WRITE = """
For VMamba-T (widths 96, 192, 384, 768); another backbone's widths go to the same places.
"""
KINDS = {
    "FPN and its kin (PAFPN, HRFPN, NAS-FPN, FPG, CARAFE)": "mmdet/retinanet",
    "YOLOX, RTMDet: a neck for strides 8, 16, 32": "mmdet/yolox",
    "YOLOv3: coarsest first": "mmdet/yolo",
    "SSD": "mmdet/ssd",
    "CenterNet: the last map": "mmdet/centernet",
    "YOLOF: one map": "mmdet/yolof",
    "DETR, Conditional DETR, DAB-DETR: one map": "mmdet/detr",
    "Deformable DETR, DINO, DDQ": "mmdet/deformable_detr",
    "A list of necks (DyHead, Libra R-CNN)": "mmdet/dyhead",
    "Mask2Former, MaskFormer": "mmdet/mask2former",
    "Trackers and teachers: within `detector`": "mmdet/qdtrack",
    "FCN, PSPNet, DeepLabV3 and others with one map each": "mmseg/fcn",
    "DMNet: reshapes maps by view, as CenterNet does": "mmseg/dmnet",
    "DeepLabV3+": "mmseg/deeplabv3plus",
    "UPerNet": "mmseg/upernet",
    "Cascades (OCRNet): every decode head": "mmseg/ocrnet",
    "PointRend, Semantic FPN": "mmseg/point_rend",
    "FastFCN: JPU hands maps on": "mmseg/fastfcn",
    "K-Net": "mmseg/knet",
    "ViT with a neck that makes a pyramid": "mmseg/beit",
    "Networks at strides nobody else has (U-Net)": "mmseg/unet",
}
"""What a neck or head is like, and the case that shows its lines."""


def sweep_page(stored: dict) -> str:
    """The whole page of results."""
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    parts = [INTRODUCTION, f"{_count(stored)} Python {stored['python']}, {versions}, on CPUs.\n"]
    for package in ("mmdet", "mmseg"):
        parts += [
            f"## What to write: {package}",
            WHAT_TO_WRITE,
            _lines_table(stored["results"], package),
            "",
        ]
    for package in ("mmdet", "mmseg"):
        parts += [f"## What runs: {package}", "", _result_table(stored["results"], package), ""]
    return "\n".join(parts).rstrip() + "\n"


def kinds_table(stored: dict) -> str:
    """Kinds of necks and heads, and what to write for each."""
    rows = [
        "| neck or head | more of the backbone | where the widths go, for VMamba-T |",
        "| --- | --- | --- |",
    ]
    for kind, name in KINDS.items():
        more, lines = _written(stored["results"][name][BACKBONES[0]])
        rows.append(f"| {kind} | {more} | {lines} |")
    return "\n".join(rows) + "\n"


def rules_table() -> str:
    """What each family is given beside its name, by `mmmamba.models.drop_in.families`."""
    rows = [
        "| family | drop path | more, in a detector; a segmentor | learning rate | not decayed |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, family in FAMILIES.items():
        given = [_arguments(family.arguments.get(task, {})) for task in ("detector", "segmentor")]
        more = "; ".join(given) if any(given) else ""
        still = [key for key, value in family.decay.items() if not value["decay_mult"]]
        keys = ", ".join(f"`{key}`" for key in still)
        rows.append(
            f"| {name} | {_by_task(family.drop_path)} | {more} | {_by_task(family.rate, '×')} "
            f"| {keys} |"
        )
    return "\n".join(rows) + "\n"


def _by_task(values: Mapping[str, Mapping[str, float]], sign: str = "") -> str:
    """Numbers of the variants; those of segmentors after a semicolon where they differ."""
    tasks = [_by_variant(values.get(task, {}), sign) for task in ("detector", "segmentor")]
    return "; ".join(dict.fromkeys(tasks)) if any(tasks) else ""


def _by_variant(values: Mapping[str, float], sign: str) -> str:
    """Variants with the same number together, the others' last."""
    together: dict[str, list[str]] = {}
    for name, value in values.items():
        together.setdefault(f"{sign}{value:.3g}", []).append(name)
    parts = [
        f"{number} ({', '.join(names)})" for number, names in together.items() if "" not in names
    ]
    return ", ".join(parts + [number for number, names in together.items() if "" in names])


def _arguments(by_variant: Mapping[str, Mapping[str, Any]]) -> str:
    texts = []
    for name, arguments in by_variant.items():
        text = ", ".join(f"`{key}={value}`" for key, value in arguments.items())
        texts.append(f"{text} ({name})" if name else text)
    return ", ".join(texts)


def with_tables(page: str, stored: dict) -> str:
    """The guide with its tables made anew."""
    for begin, table in ((KINDS_BEGIN, kinds_table(stored)), (RULES_BEGIN, rules_table())):
        between = re.compile(f"(?<={re.escape(begin)}).*?(?={re.escape(KINDS_END)})", re.DOTALL)
        page = between.sub(lambda _, table=table: table, page)
    return page


def _written(result: dict) -> tuple[str, str]:
    arguments = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in result["backbone"].items()
    }
    more = ", ".join(f"{key}={value}" for key, value in arguments.items())
    lines = result["lines"]
    return f"`{more}`" if more else "", f"`{lines}`" if lines else "as they are"


def _count(stored: dict) -> str:
    rows = stored["results"]
    counts = [
        f"{sum(row.get(b, {}).get('ok', False) for row in rows.values())} with `{b}`"
        for b in COLUMNS
    ]
    return f"Of {len(rows)} configs run: {', '.join(counts)}."


def _lines_table(results: dict, package: str) -> str:
    """Methods for which the same lines are written, in one row."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, row in results.items():
        result = row.get(BACKBONES[0], {})
        if name.startswith(f"{package}/") and "lines" in result:
            groups.setdefault(_written(result), []).append(name.partition("/")[2])
    table = ["| methods | more of the backbone | widths |", "| --- | --- | --- |"]
    for (more, lines), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        table.append(f"| {', '.join(names)} | {more} | {lines} |")
    return "\n".join(table)


def _result_table(results: dict, package: str) -> str:
    head = f"| method | {' | '.join(COLUMNS)} | why not |"
    table = [head, f"| --- |{' --- |' * (len(COLUMNS) + 1)}"]
    for name, row in results.items():
        if name.startswith(f"{package}/"):
            cells = [_cell(row.get(backbone)) for backbone in COLUMNS]
            whys = dict.fromkeys(filter(None, (reason(name, backbone) for backbone in COLUMNS)))
            if name in NEEDS:
                whys[f"where {NEEDS[name]} is installed"] = None
            label = f"{name.partition('/')[2]} (`{CASES[name].config}`)"
            table.append(f"| {label} | {' | '.join(cells)} | {'; '.join(whys)} |")
    return "\n".join(table)


def _cell(result: dict | None) -> str:
    return "" if result is None else "✓" if result["ok"] else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.parse_args()
    stored = json.loads(RESULTS.read_text())
    PAGE.write_text(sweep_page(stored), encoding="utf-8")
    GUIDE.write_text(with_tables(GUIDE.read_text(encoding="utf-8"), stored), encoding="utf-8")


if __name__ == "__main__":
    main()
