"""Draw docs/images/choose.png: accuracy against images a second, of results/backbones_gpu.json.

    python benchmarks/choose.py

What the authors publish, top-1 on ImageNet-1K and box AP of Mask R-CNN 1x on COCO, against what
`backbones_gpu.py` measured on one card. Variants of a family are joined.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cells import Source
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from pages import by_family
from peers import LABELS

from mmmamba.visualization.charts.chart import DPI, chart_style, line_colours
from mmmamba.visualization.style import save_figure

PICTURE = Path(__file__).parents[1] / "docs" / "images" / "choose.png"
MARKERS = "osD^vP*Xp<>h"


@chart_style
def draw(rows: list[dict[str, Any]]) -> Figure:
    """Two panels, of classifiers and of backbones of detectors."""
    figure = Figure(figsize=(10.5, 5.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    # Those that publish neither accuracy have no points.
    scored = [row for row in rows if row.get("top1") or row.get("box_ap")]
    families = list(dict.fromkeys(row["family"] for row in scored))
    panel(left, rows, families, "inference@classifier", "top1")
    panel(right, rows, families, "inference@detector", "box_ap")
    left.set(
        title="Classifiers, 128 images of 224² (MobileMamba: of its own sides)",
        ylabel="top-1 on ImageNet-1K, published, %",
    )
    right.set(
        title="Backbones, 8 images of 800 x 1344",
        ylabel="box AP of Mask R-CNN 1x on COCO, published",
    )
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=7)
    return figure


def panel(axes: Axes, rows: list[dict[str, Any]], families: list[str], speed: str, score: str):
    ours = [family for family in families if family not in LABELS.values()]
    colours = dict(zip(ours, line_colours(len(ours))))
    for n, family in enumerate(families):
        found = [row for row in rows if row["family"] == family and row.get(speed)]
        points = [(row[speed], row[score]) for row in found if row.get(score)]
        axes.plot(
            *zip(*sorted(points)) if points else ([], []),
            color=colours.get(family, "black"),
            marker=MARKERS[n % len(MARKERS)],
            markersize=5,
            linewidth=1,
            label=family,
        )
    axes.set_xscale("log")
    axes.set_xlabel("images a second, bfloat16")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_minor_formatter(NullFormatter())


def main() -> None:
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    save_figure(draw(by_family(Source("backbones_gpu", "speed").rows())), PICTURE, dpi=DPI)
    print(f"{PICTURE} written")


if __name__ == "__main__":
    main()
