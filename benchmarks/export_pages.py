"""The tables of exported files in docs/deploy.md, as those of `pages.py`."""

from __future__ import annotations

from cells import Page, Row, Source, joined, model, number, side_by_side


def above_the_limit(rows: list[Row]) -> list[Row]:
    """Files further from PyTorch than others may be: its own rounding was looked at."""
    return [row for row in rows if row.get("onnx_rounding")]


EXPORTS = {
    "export_cpu": Page(
        Source("export_cpu", "speed"),
        {
            "backbone": model(),
            "eager mode": number("eager_ms", ".1f"),
            "onnxruntime": number("onnx_ms", ".1f"),
            "OpenVINO": number("openvino_ms", ".1f"),
            "better of them / eager": number("ratio", ".2f"),
        },
    ),
    "export_gpu": Page(
        Source("export_gpu", "speed"),
        {
            "backbone, images": lambda row: f"{row['model']}, {row['size']}",
            "eager mode": joined(number("ms@eager", ".1f"), number("gpu@eager", ".1f")),
            "CUDA graphs": joined(number("ms@graphs", ".1f"), number("gpu@graphs", ".1f")),
            "`pt2`": joined(number("ms@pt2", ".1f"), number("gpu@pt2", ".1f")),
        },
        arrange=side_by_side("model", "size", by="form", values=("ms", "gpu")),
    ),
    "export_names": Page(
        Source("export_names", "files"),
        {
            "backbone": model(),
            "the file and PyTorch": number("onnx_error", ".1e"),
            "PyTorch in float32 and in float64": number("onnx_rounding", ".1e"),
        },
        arrange=above_the_limit,
    ),
}
