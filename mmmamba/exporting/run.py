"""From a trained model to a file that was compared with it, or to no file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from time import perf_counter

from ..structures.classes import Classes
from .describing import default_size, metadata_of
from .example import write_example
from .graphs import Graph, graph_of
from .metadata import Metadata, Origin, Size
from .request import Request, Subject
from .runtimes import open_runtime
from .runtimes.base import needed
from .verify import Report, trial_batches, verify
from .writing import WRITERS, Job

Log = Callable[[str], object]
FIXED = dict(classification=8)
"""Batches that a file of a fixed size is tried on, if more than one."""


@dataclass(frozen=True)
class Exported:
    """What an export has made."""

    path: Path
    """The file; there is none if `report.passed` is false."""
    report: Report
    metadata: Metadata


def export_file(subject: Subject, request: Request, log: Log) -> Exported:
    """Write the file that is asked for, and compare it with the model.

    It gets its name when it has passed: until then it lies in a folder of its own beside it.

    Raises:
        UsageError: a model, or a part of it, that cannot be exported so, or a package that is
            missing.
    """
    writer = WRITERS[request.format]
    for package in writer.needs:
        needed(package, f"{request.format} files are written with it")
    graph = graph_of(subject.model, request.nms, request.logits).eval()
    metadata = _describe(graph, subject, request, log)
    started = perf_counter()
    with _beside(request.out) as folder:
        path = folder / request.out.name
        writer.write(Job(graph, metadata, request, subject, log), path)
        size = sum(file.stat().st_size for file in folder.iterdir())
        log(f"written in {perf_counter() - started:.0f} s, {size / 2**20:.1f} MiB; now compared")
        runtime = open_runtime(path, request.device, metadata=metadata)
        images = [] if request.image is None else [request.image]
        # One image has one class, which would show little.
        fixed = FIXED.get(graph.task, 1)
        batches = trial_batches(metadata.inputs, images, fixed=fixed, second=request.second)
        report = verify(graph, runtime, batches)
        del runtime
        for line in report.lines():
            log(line)
        if not report.passed:
            log(f"the file is wrong, and there is no {request.out}")
            return Exported(request.out, report, metadata)
        metadata = replace(metadata, verification=report.to_json())
        writer.describe(path, metadata)
        if request.format == "onnx":
            write_example(path, metadata)
        for file in sorted(folder.iterdir()):
            file.replace(request.out.parent / file.name)
    log(f"exported {request.out}")
    return Exported(request.out, report, metadata)


def _describe(graph: Graph, subject: Subject, request: Request, log: Log) -> Metadata:
    size: Size | None = request.size
    if size is None and not request.dynamic:
        default = default_size(subject.cfg)
        size = default.size
        log(f"for images of {size[0]} x {size[1]} (height x width): {default.reason}")
    return metadata_of(
        graph,
        subject.model,
        subject.cfg,
        format=request.format,
        size=size,
        batch=None if request.dynamic else request.batch,
        classes=_classes(subject),
        origin=Origin(
            subject.config,
            subject.checkpoint,
            datetime.now(timezone.utc).isoformat(timespec="seconds"),
        ),
        precision=request.precision,
    )


def _classes(subject: Subject) -> Classes | None:
    meta = dict(classes=subject.classes, palette=subject.palette)
    return Classes.from_meta(meta) if subject.classes else None


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A folder beside a file, so that what is in it can be moved there in one step."""
    folder = Path(tempfile.mkdtemp(prefix=f".{out.stem}-", dir=out.parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
