"""`mmmamba infer`: a trained model on one's own images."""

from __future__ import annotations

import argparse
import signal
from collections import Counter

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from ..engine.tf32 import choose_tf32, tf32_products
from ..errors import UsageError
from ..exporting.files import format_of
from ..exporting.flags import refuse_flags
from ..inference import Classification, Detections, Predictor, Segmentation, find_sources
from ..inference.opening import choose_device
from ..inference.predictor import SCORE_THR, TILE, TOP_K
from ..inference.results import Result
from ..inference.sources import count_frames
from ..inference.writing import ResultFolder
from ..structures.tiles import OVERLAP
from .config_options import add_config_options
from .run_arguments import add_precision_argument, add_size_argument, add_speed_arguments

SHOWN = 12
COUNTED = dict(
    detection="objects", segmentation="mean share", classification="images", saliency="images"
)
"""What the table counts of each class."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code of what Ctrl-C ended, as shells count."""
USAGE = "mmmamba infer MODEL INPUT [INPUT ...] [options]"
EXAMPLES = """examples:
  mmmamba infer work_dirs/demo photo.jpg
  mmmamba infer mask_rcnn/vmamba_t_1x_coco photos/ --checkpoint mine.pth
  mmmamba infer work_dirs/demo 0
  mmmamba infer work_dirs/pairs rgb/ --second thermal/
  mmmamba infer model.onnx photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `mmmamba infer`."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.usage, parser.epilog = USAGE, EXAMPLES
    parser.add_argument(
        "model", metavar="MODEL", help="folder of a run, config by path or name, or exported file"
    )
    parser.add_argument(
        "inputs",
        metavar="INPUT",
        nargs="+",
        help="image, folder, 'glob', video, URL, number of a camera",
    )
    parser.add_argument(
        "--second",
        metavar="DIR|FILE",
        help="of models that take pairs: second images, by their names, or that of one input",
    )
    parser.add_argument(
        "--checkpoint", metavar="FILE", help="weights, file or URL (the run's, or published)"
    )
    parser.add_argument(
        "--out", metavar="DIR", default="predictions", help="where results go (%(default)s)"
    )
    parser.add_argument("--device", help="cpu, cuda or a GPU's number (cuda if there is one)")
    parser.add_argument(
        "--score-thr", type=float, metavar="S", help=f"detectors: least score ({SCORE_THR})"
    )
    parser.add_argument(
        "--top-k",
        type=int,
        metavar="K",
        help=f"classifiers: classes that are named, the surest first ({TOP_K})",
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
    parser.add_argument(
        "--frames", type=int, metavar="N", help="of videos and cameras, N frames at most"
    )
    add_size_argument(parser)
    add_precision_argument(parser)
    add_speed_arguments(parser)
    add_config_options(parser)


def run(args: argparse.Namespace) -> int:
    """Predict, draw and write; 1 where an input could not be read."""
    for option, value in (("--every", args.every), ("--frames", args.frames)):
        if value is not None and value < 1:
            raise UsageError(f"{option} is {value}, wanted 1 or more")
    if format_of(args.model) is not None:
        refuse_flags(args.model, tf32=_shown(args.tf32))
        return _predict(args)
    with tf32_products(choose_tf32(args.tf32, choose_device(args.device))):
        return _predict(args)


def _shown(tf32: bool | None) -> str | None:
    return None if tf32 is None else "on" if tf32 else "off"


def _predict(args: argparse.Namespace) -> int:
    sources = find_sources(args.inputs)
    model = Predictor(
        args.model,
        args.checkpoint,
        device=args.device,
        cfg_options=args.cfg_options,
        imgsz=args.imgsz,
        score_thr=args.score_thr,
        top_k=args.top_k,
        tile=args.tile,
        overlap=args.overlap,
        batch_size=args.batch_size,
        precision=args.precision,
        graphs=args.graphs,
    )
    sources = model.paired(sources, args.inputs, args.second)
    # Results go to the output stream, the bar to that of errors: a pipe gets results alone.
    summary, console = Summary(), Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    counts = [count_frames(source, args.every, args.frames) for source in sources]
    results_folder = ResultFolder(args.out, sources, model.classes, model.task)
    stopped = False
    with results_folder as folder, Progress(*columns, console=console) as bar:
        # A camera has no end.
        task = bar.add_task(model.task, total=None if None in counts else sum(counts))
        try:
            for frame, result in model.stream(
                sources,
                every=args.every,
                frames=args.frames,
                unreadable=lambda error: summary.failures.append(str(error)),
            ):
                folder.add(frame, result)
                summary.add(result)
                bar.advance(task)
        # What was found until then is written, and the summary tells it.
        except KeyboardInterrupt:
            stopped = True
    summary.print(model, args.out)
    # It is how one leaves a camera, and an interruption of anything else.
    if stopped and not any(source.live for source in sources):
        return INTERRUPTED
    return 1 if summary.failures else 0


class Summary:
    """What was found, and what could not be read."""

    def __init__(self) -> None:
        self.images, self.empty = 0, 0
        self.found: Counter[str] = Counter()
        self.failures: list[str] = []

    def add(self, result: Result) -> None:
        self.images += 1
        if isinstance(result, Detections):
            self.empty += not len(result)
            self.found.update(result.names)
        elif isinstance(result, Classification):
            self.found.update(result.names[:1])
        elif isinstance(result, Segmentation):
            self.found.update(result.shares())

    def print(self, model: Predictor, out: str) -> None:
        if self.images:
            table = Table("class", COUNTED[model.task], title_justify="left")
            shares = model.task == "segmentation"
            for name, amount in self.found.most_common(SHOWN):
                table.add_row(name, f"{amount / self.images:.1%}" if shares else str(amount))
            if len(self.found) > SHOWN:
                table.add_row(f"{len(self.found) - SHOWN} more", "")
            if self.found:
                Console().print(table)
        empty = (
            f", {self.empty} of them with no object above {model.score_thr:g}" if self.empty else ""
        )
        speed = f" at {model.seconds / self.images:.2f} s each" if self.images else ""
        print(
            f"{self.images} images{empty}{speed} on {model.runs_on} in {model.precision}, with "
            f"{model.checkpoint}. Results: {out}"
        )
        if self.failures:
            print(f"{len(self.failures)} inputs could not be read:", *self.failures, sep="\n  ")
