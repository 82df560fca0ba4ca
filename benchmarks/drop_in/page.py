"""The tables of docs/drop_in_sweep.md from the stored results: python benchmarks/drop_in/page.py"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from benchmarks.drop_in.cases import BACKBONES, CASES, CONTROL
from benchmarks.drop_in.known import reason

PAGE = ROOT / "docs" / "drop_in_sweep.md"
RESULTS = Path(__file__).with_name("results.json")
INTRODUCTION = """\
# Every method, each backbone

Written by `python benchmarks/drop_in/page.py` from `benchmarks/drop_in/results.json`; do not edit. One config of each
folder of mmdet's and mmseg's configs, the plainest, as shipped and with the backbone exchanged by the rules of
[In a config you have](drop_in.md). Each is built without pretrained weights and trained one step on two small images, of
which a detector's second has no objects; ✓ says that the losses are finite, every parameter that is trained got a
gradient, and another image, nearly always with odd sides, was predicted. It says that a method runs, not how well it learns.
"""


def sweep_page(stored: dict) -> str:
    """The whole page."""
    versions = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    parts = [INTRODUCTION, f"{_count(stored)} Python {stored['python']}, {versions}, on CPUs.\n"]
    for package in ("mmdet", "mmseg"):
        parts += [f"## What to write: {package}", LINES, _lines_table(stored["results"], package), ""]
    for package in ("mmdet", "mmseg"):
        parts += [f"## What runs: {package}", _result_table(stored["results"], package), ""]
    return "\n".join(parts).rstrip() + "\n"


LINES = """
For VMamba-T (widths 96, 192, 384, 768); another backbone's widths go to the same places.
"""


def _count(stored: dict) -> str:
    rows = stored["results"]
    counts = [f"{sum(row.get(b, {}).get('ok', False) for row in rows.values())} with `{b}`"
              for b in (CONTROL, *BACKBONES)]  # fmt: skip
    return f"Of {len(rows)} configs run: {', '.join(counts)}."


def _lines_table(results: dict, package: str) -> str:
    """Methods for which the same lines are written, in one row."""
    groups: dict[tuple[str, str], list[str]] = {}
    for name, row in results.items():
        result = row.get(BACKBONES[0], {})
        if name.startswith(f"{package}/") and "lines" in result:
            indices = result["backbone"].get("out_indices")
            key = (f"`{tuple(indices)}`" if indices else "default", result["lines"])
            groups.setdefault(key, []).append(name.partition("/")[2])
    table = ["| methods | `out_indices` | widths |", "| --- | --- | --- |"]
    for (indices, lines), names in sorted(groups.items(), key=lambda item: -len(item[1])):
        table.append(f"| {', '.join(names)} | {indices} | {f'`{lines}`' if lines else 'as they are'} |")
    return "\n".join(table)


def _result_table(results: dict, package: str) -> str:
    table = [f"| | {' | '.join((CONTROL, *BACKBONES))} | |", f"| --- |{' --- |' * (len(BACKBONES) + 2)}"]
    for name, row in results.items():
        if name.startswith(f"{package}/"):
            cells = [_cell(row.get(backbone)) for backbone in (CONTROL, *BACKBONES)]
            whys = dict.fromkeys(filter(None, (reason(name, backbone) for backbone in (CONTROL, *BACKBONES))))
            label = f"{name.partition('/')[2]} (`{CASES[name].config}`)"
            table.append(f"| {label} | {' | '.join(cells)} | {'; '.join(whys)} |")
    return "\n".join(table)


def _cell(result: dict | None) -> str:
    return "" if result is None else "✓" if result["ok"] else "–"


if __name__ == "__main__":
    PAGE.write_text(sweep_page(json.loads(RESULTS.read_text())), encoding="utf-8")
