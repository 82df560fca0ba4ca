"""`mmmamba infer`: a trained model on one's own images."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from time import perf_counter

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..engine.tf32 import choose_tf32, tf32_products
from ..errors import UsageError
from ..inference import (
    Detections,
    Predictor,
    Segmentation,
    Source,
    UnreadableImage,
    find_sources,
    read_frames,
)
from ..inference.opening import choose_device
from ..inference.predictor import OVERLAP, TILE
from ..inference.sources import Frame, count_frames
from ..inference.writing import ResultFolder
from .config_options import add_config_options
from .run_arguments import add_precision_argument, add_size_argument, add_speed_arguments

SHOWN = 12
EXAMPLES = """examples:
  mmmamba infer work_dirs/demo photo.jpg
  mmmamba infer mask_rcnn/vmamba_t_1x_coco photos/ --checkpoint mine.pth
  mmmamba infer work_dirs/roads aerial.tif --tile 1024"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmmamba infer`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLES
    parser.add_argument("model", metavar="MODEL", help="folder of a run, or config by path or name")
    parser.add_argument(
        "inputs", metavar="INPUT", nargs="+", help="image, folder, 'glob', video or URL"
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="weights, file or URL (the run's, or published)"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="predictions", help="where results go (%(default)s)"
    )
    parser.add_argument("--device", help="cpu, cuda or a GPU's number (cuda if there is one)")
    parser.add_argument(
        "--score-thr", type=float, default=0.3, metavar="S", help="least score (%(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=1, metavar="N", help="images at a time (%(default)s)"
    )
    parser.add_argument(
        "--tile",
        type=int,
        nargs="?",
        const=TILE,
        metavar="PIXELS",
        help=f"larger images go in tiles of this side ({TILE})",
    )
    parser.add_argument(
        "--overlap",
        type=float,
        default=OVERLAP,
        metavar="SHARE",
        help="of neighbouring tiles (%(default)s)",
    )
    parser.add_argument(
        "--every", type=int, default=1, metavar="N", help="of videos, each Nth frame (%(default)s)"
    )
    add_size_argument(parser)
    add_precision_argument(parser)
    add_speed_arguments(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predict, draw and write; 1 where an input could not be read."""
    if args.every < 1:
        raise UsageError(f"--every is {args.every}, wanted 1 or more")
    with tf32_products(choose_tf32(args.tf32, choose_device(args.device))):
        return _predict(args)


def _predict(args: argparse.Namespace) -> int:
    sources = find_sources(args.inputs)
    model = Predictor(
        args.model,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        imgsz=args.imgsz,
        score_thr=args.score_thr,
        tile=args.tile,
        overlap=args.overlap,
        batch_size=args.batch_size,
        precision=args.precision,
        graphs=args.graphs,
    )
    # Results go to the output stream, the bar to that of errors: a pipe gets results alone.
    summary, console = Summary(), Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    results_folder = ResultFolder(args.out, sources, model.classes, model.task)
    with results_folder as folder, Progress(*columns, console=console) as bar:
        task = bar.add_task(
            model.task, total=sum(count_frames(source, args.every) for source in sources)
        )
        # One stream of frames over all sources: batches are filled across files.
        frames = summary.watch(sources, model, args.every)
        while batch := list(islice(frames, args.batch_size)):
            # The model's time alone, without reading, drawing and writing.
            started = perf_counter()
            try:
                results = model.predict([frame.image for frame in batch])
            except torch.cuda.OutOfMemoryError as error:
                smaller = "a smaller --batch-size"
                cure = "a smaller --tile or --batch-size" if args.tile else f"--tile, or {smaller}"
                raise UsageError(
                    f"the GPU has too little memory for {batch[0].source.place}; try {cure}"
                ) from error
            summary.seconds += perf_counter() - started
            for frame, result in zip(batch, results):
                folder.add(frame, result)
                summary.add(result)
            bar.advance(task, len(batch))
    summary.print(model, args.out)
    return 1 if summary.failures else 0


class Summary:
    """What was found, and what could not be read."""

    def __init__(self) -> None:
        self.images, self.empty, self.seconds = 0, 0, 0.0
        self.found: Counter[str] = Counter()
        self.failures: list[str] = []

    def watch(self, sources: list[Source], model: Predictor, every: int) -> Iterator[Frame]:
        """The frames of all sources; one that cannot be read is noted and left out."""
        for source in sources:
            try:
                yield from read_frames(source, model.read, every)
            # The frames before the fault were given out already and keep their results.
            except UnreadableImage as error:
                self.failures.append(str(error))

    def add(self, result: Detections | Segmentation) -> None:
        self.images += 1
        if isinstance(result, Detections):
            self.empty += not len(result)
            self.found.update(result.classes.names[label] for label in result.objects.labels)
        else:
            self.found.update(result.shares())

    def print(self, model: Predictor, out: str) -> None:
        if self.images:
            detection = model.task == "detection"
            table = Table("class", "objects" if detection else "mean share", title_justify="left")
            for name, amount in self.found.most_common(SHOWN):
                table.add_row(name, str(amount) if detection else f"{amount / self.images:.1%}")
            if len(self.found) > SHOWN:
                table.add_row(f"{len(self.found) - SHOWN} more", "")
            if self.found:
                Console().print(table)
        empty = (
            f", {self.empty} of them with no object above {model.score_thr:g}" if self.empty else ""
        )
        speed = f" at {self.seconds / self.images:.2f} s each" if self.images else ""
        device = next(model.model.parameters()).device
        print(
            f"{self.images} images{empty}{speed} on {device} in {model.precision}, with "
            f"{model.checkpoint}. Results: {out}"
        )
        if self.failures:
            print(f"{len(self.failures)} inputs could not be read:", *self.failures, sep="\n  ")
