"""The cells of a table of measured numbers, and the rows of a data file that they are made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results")

Row = dict[str, Any]
Cell = Callable[[Row], str]

NAMES = {
    "vmamba_t": "VMamba-T",
    "vmamba_v0_t": "VMamba-T, first generation",
    "localvmamba_t": "LocalVMamba-T",
    "efficientvmamba_t": "EfficientVMamba-T",
    "efficientvmamba_b": "EfficientVMamba-B",
    "mambavision_t": "MambaVision-T",
    "mobilemamba_b1": "MobileMamba-B1",
    "mobilemamba_t2": "MobileMamba-T2 (starts at stride 16)",
    "localvim_t": "LocalVim-T",
    "vim_t": "Vim-T",
    "mamba_yolo_t": "Mamba YOLO-T",
    "swin_t": "Swin-T (timm)",
    "swin_t (mmdet)": "Swin-T (mmdet)",
    "convnext_t": "ConvNeXt-T (timm)",
    "yolox_s": "YOLOX-S",
    "rtmdet_s": "RTMDet-S",
}
"""What the pages call the models that scripts name."""


@dataclass(frozen=True)
class Source:
    """Rows of one table of a file in results/."""

    file: str
    table: str

    def record(self) -> dict[str, Any]:
        return json.loads((RESULTS / f"{self.file}.json").read_text(encoding="utf-8"))

    def rows(self) -> list[Row]:
        return self.record()["tables"][self.table]


@dataclass(frozen=True)
class Page:
    """A table of a page.

    Args:
        source: where its rows come from.
        columns: heading and cell of each column.
        repeats: columns in which a cell is left empty where it is that of the row above.
        bold: cells by row and heading that are printed bold.
        arrange: makes the page's rows of those in the file.
    """

    source: Source
    columns: dict[str, Cell]
    repeats: tuple[str, ...] = ()
    bold: Callable[[Row, str], bool] = lambda row, heading: False
    arrange: Callable[[list[Row]], list[Row]] = list

    def markdown(self) -> str:
        lines = [_line(self.columns), _line("---" for _ in self.columns)]
        above: dict[str, str] = {}
        for row in self.arrange(self.source.rows()):
            cells = {heading: cell(row) for heading, cell in self.columns.items()}
            shown = dict(cells)
            for heading in self.repeats:
                if above.get(heading) == cells[heading]:
                    shown[heading] = ""
            for heading in shown:
                if self.bold(row, heading):
                    shown[heading] = f"**{shown[heading]}**"
            lines.append(_line(shown.values()))
            above = cells
        return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    # An empty cell takes one blank, not two.
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells)


def number(key: str, form: str = ".0f", after: str = "") -> Cell:
    """A number; nothing where the run did not measure it."""

    def cell(row: Row) -> str:
        value = row.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        return format(value, form) + after

    return cell


def text(key: str, before: str = "") -> Cell:
    """A word of the row, or the sizes of a shape."""

    def cell(row: Row) -> str:
        value = row.get(key)
        if value is None:
            return ""
        return before + (" x ".join(map(str, value)) if isinstance(value, list) else str(value))

    return cell


def model(key: str = "model") -> Cell:
    """The pages' name for a model."""
    return lambda row: NAMES.get(row[key], row[key])


def joined(*cells: Cell, by: str = ", ") -> Cell:
    """Several cells in one; nothing where one of them has nothing."""

    def cell(row: Row) -> str:
        parts = [part(row) for part in cells]
        return by.join(parts) if all(parts) else ""

    return cell


def digits(value: float | None) -> str:
    """A number of any size with two or three digits that count; nothing where there is none."""
    if value is None:
        return ""
    return format(value, ".0f" if value >= 20 else ".1f" if value >= 1 else ".2f")


def digits_of(key: str) -> Cell:
    return lambda row: digits(row.get(key))


def short(key: str) -> Cell:
    """A number of any size, or several, with two or three digits that count."""

    def cell(row: Row) -> str:
        value = row[key]
        return " – ".join(map(digits, value if isinstance(value, list) else [value]))

    return cell


def default_ms(row: Row) -> str:
    """Milliseconds by default, or why there are none."""
    if "failed" in row:
        return f"failed: {row['failed']}"
    return digits(row.get("files", row["ms"]))


def as_wanted(row: Row) -> str:
    """Whether a row of ours is as fast as was wanted, and by what it misses that."""
    if not row["ours"] or "failed" in row:
        return ""
    return "; ".join(row["missed"]) or "yes"


def percent(key: str, form: str = ".0f") -> Cell:
    return lambda row: f"{format(100 * row[key], form)} %"


def side_by_side(*keys: str, by: str, values: tuple[str, ...]) -> Callable[[list[Row]], list[Row]]:
    """Rows that agree in `keys` become one, with `VALUE@BY` for each value.

    Args:
        keys: what a row of the page stands for.
        by: what tells rows of one group apart.
        values: what is measured.
    """

    def arrange(rows: list[Row]) -> list[Row]:
        made: dict[tuple, Row] = {}
        for row in rows:
            group = tuple(str(row[key]) for key in keys)
            one = made.setdefault(group, {key: row[key] for key in keys})
            for value in values:
                one[f"{value}@{row[by]}"] = row.get(value)
        return list(made.values())

    return arrange


def with_spread(rows: list[Row]) -> list[Row]:
    """A model's costs side by side, and how much they differ."""
    made = side_by_side("model", by="side", values=("ns", "ns_of_one"))(rows)
    for one in made:
        costs = [value for key, value in one.items() if key.startswith("ns@")]
        one["spread"] = max(costs) / min(costs)
    return made


def scan_case(row: Row) -> str:
    routes = f"{row['routes']} routes of " if row["routes"] > 1 else ""
    where = ", in place" if row["routes"] > 1 else ""
    return f"{row['batch']}, {routes}{row['channels']}, {row['steps']}, {row['states']}{where}"


def formats(key: str) -> Cell:
    """Milliseconds of both formats of maps, and their ratio."""

    def cell(row: Row) -> str:
        as_is, copied = row[f"{key}@channels-last"], row[f"{key}@contiguous"]
        return f"{as_is:.1f} / {copied:.1f} ({copied / as_is:.2f})"

    return cell


def pixel(side: int) -> Cell:
    """Nanoseconds of a pixel, in brackets of one image; one figure where a batch is one image."""

    def cell(row: Row) -> str:
        batch, one = row[f"ns@{side}"], row[f"ns_of_one@{side}"]
        return f"{batch:.2f}" if batch == one else f"{batch:.2f} ({one:.2f})"

    return cell


def scale(row: Row) -> str:
    value = row["scale"]
    return f"{value:g}" if value >= 1 else f"1/{1 / value:g}"
