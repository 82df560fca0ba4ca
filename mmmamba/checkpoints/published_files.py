"""What a family's authors published: a file, and the size that they print of a classifier."""

from collections.abc import Mapping
from dataclasses import dataclass

METRICS = {
    "top1": "top-1",
    "box_ap": "box AP",
    "mask_ap": "mask AP",
    "f1": "F1",
    "miou": "mIoU",
    "miou_ms": "mIoU multi-scale",
}
"""Results by name, and how they are written.

They are in percent: `top1` on ImageNet-1K or, as `f1`, on what the file's task names; `box_ap` and
`mask_ap` on COCO val2017, `miou` and `miou_ms` (at several scales, with flips) on ADE20K val or
what the file's task names.
"""


@dataclass(frozen=True)
class Published:
    """One file that a family's authors published."""

    name: str
    """The variant, as `create_backbone` takes it."""
    task: str
    """`classification` (ImageNet-1K), `classification_` and another data set's name, or method and
    schedule: `mask_rcnn_1x`, `upernet_160k`, …
    """
    url: str
    licence: str
    """The licence of the weights, as their authors state it."""
    expected: Mapping[str, float]
    """The published results by the names of `METRICS`."""
    source: str
    """Repository that states the results."""
    key: str | None = None
    """The key of the file that holds the weights with these results.

    Given where it is not the family's usual one.
    """
    page: bool = False
    """Whether the URL is a page to download from by hand, not the file."""
    note: str = ""
    sha256: str | None = None
    """Checked after a download where it is known."""
    size: int | None = None
    """Bytes of the file where they are known."""

    def __post_init__(self) -> None:
        # Told when the family is imported; `results` would fail on it only when it is shown.
        if unknown := self.expected.keys() - METRICS.keys():
            raise ValueError(
                f"{self.name}, {self.task}: there is no result {', '.join(sorted(unknown))}; "
                f"there are {', '.join(METRICS)}"
            )

    @property
    def results(self) -> str:
        """The results in words, such as "box AP 47.3, mask AP 42.7"."""
        return ", ".join(f"{METRICS[name]} {value}" for name, value in self.expected.items())


@dataclass(frozen=True)
class Repository:
    """What the files of one group of authors have in common."""

    source: str
    """Address of the repository that states the results."""
    licence: str
    """The licence of the weights, as their authors state it."""
    files: str
    """Address of a file, with `{}` for what differs between files."""

    def file(
        self,
        name: str,
        task: str,
        *,
        at: str = "",
        key: str | None = None,
        page: bool = False,
        note: str = "",
        **expected: float,
    ) -> Published:
        """One file of theirs; `at` takes the place of `{}`, other arguments are as in `Published`.

        Raises:
            ValueError: a result that is none of `METRICS`.
        """
        url = self.files.format(at)
        return Published(name, task, url, self.licence, expected, self.source, key, page, note)


@dataclass(frozen=True)
class Size:
    """What the authors print of a classifier's size; strings keep the digits that were printed."""

    parameters: str
    """Number of parameters in millions."""
    gflops: str | None
    """Multiply-adds in 10^9; None where none are printed."""
    size: int = 224
    """Side in pixels of the images that results and multiply-adds are for."""
    top1: float | None = None
    """Accuracy in percent, given where no weights are published that could say it."""
