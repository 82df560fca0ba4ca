"""What a config's test pipeline does to an image of the user's own, which has no annotations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope

from ..datasets.nodes import dataset_of_tests
from ..datasets.transforms import LoadPairedImage
from ..datasets.transforms.load_paired_image import COLOUR_CHANNELS
from ..errors import UsageError
from ..visualization.canvas import displayed
from .pairs import PairNames
from .sources import UnreadableImage, local_file


@dataclass(frozen=True)
class Preparation:
    """The test pipeline of a config: its loader of files, and what comes after it."""

    load: Any
    steps: Compose
    name: str = "the model"
    """What errors call the config."""
    names: PairNames = field(default_factory=PairNames)
    """How the files of a pair are called, where images are pairs."""

    @classmethod
    def of_config(cls, cfg: Config, name: str | Path) -> Preparation:
        """The pipeline of the first data set that a config tests on, without annotations.

        Args:
            name: what errors call the config.

        Raises:
            UsageError: the config has no such pipeline, or one that does not begin with a loader.
        """
        dataset = dataset_of_tests(cfg)
        steps = without_annotations(dataset.get("pipeline") or ())
        if not steps or "Load" not in _name(steps[0]):
            raise UsageError(
                f"{name} does not say how images are prepared: test_dataloader.dataset.pipeline "
                "must begin with dict(type='LoadImageFromFile')"
            )
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
            # The loader stands apart, as arrays and tiles do not pass through it.
            load = TRANSFORMS.build(steps[0])
            first = dataset.get("img_suffix") or ""
            names = PairNames(first, dataset.get("second_suffix") or first)
            return cls(load, Compose(steps[1:]), str(name), names)

    @property
    def paired(self) -> bool:
        """Whether an image is a pair of files."""
        return isinstance(self.load, LoadPairedImage)

    def check_pair(self, path: str | Path, second: str | Path | None) -> None:
        """Make sure that there are as many files as the model takes.

        Raises:
            UsageError: one is missing, or one too many.
        """
        if self.paired and second is None:
            raise UsageError(
                f"{self.name} takes pairs of images, and {path} is one: name the folder or file of "
                "the second ones (mmmamba infer: --second; Python: second=, or a tuple of paths)"
            )
        if second is not None and not self.paired:
            raise UsageError(
                f"{self.name} takes single images, and {second} is a second one: leave it out "
                "(--second)"
            )

    def read(self, path: str | Path, second: str | Path | None = None) -> np.ndarray:
        """An image as the config's loader reads it, from a path or a URL; of pairs from two.

        By default that is (H, W, 3) in 8 bits, turned as EXIF says, grey as three channels.

        Raises:
            UnreadableImage: it cannot be read.
            UsageError: a file too few or too many.
        """
        self.check_pair(path, second)
        given = dict(img_path=path) if second is None else dict(img_path=path, second_path=second)
        with ExitStack() as files:
            paths = {}
            for key, place in given.items():
                paths[key] = str(files.enter_context(local_file(str(place))))
            try:
                return self.load(paths)["img"]
            except (AssertionError, cv2.error) as error:
                # mmcv's loader asserts that OpenCV could decode the file.
                more = f" ({error.err})" if isinstance(error, cv2.error) else ""
                beside = f" or {second}" if second else ""
                raise UnreadableImage(
                    f"{path}{beside}: no image of a known format, or damaged{more}"
                ) from error
            except (OSError, ValueError) as error:
                raise UnreadableImage(f"{path}: {error}") from error

    def shown(self, image: np.ndarray) -> np.ndarray:
        """An image as the loader reads it, as it is drawn on: (H, W, 3; blue, green, red)."""
        # The colours of a pair are red, green, blue.
        return displayed(image[..., 2::-1] if self.paired else image)

    def shown_second(self, image: np.ndarray) -> np.ndarray | None:
        """The second image of a pair as a picture (H, W, 3); None of what is no pair."""
        if not self.paired:
            return None
        second = image[..., COLOUR_CHANNELS:]
        colours = getattr(self.load, "second_color_type", "") == "color"
        return displayed(second[..., ::-1] if colours else second)

    def pack(self, image: np.ndarray, number: int = 0, path: str | None = None) -> dict[str, Any]:
        """`inputs` and `data_samples` of an image, as a model's data preprocessor takes them.

        A frame in colours is made grey where the loader makes files grey.
        """
        grey = str(getattr(self.load, "color_type", "")).startswith("grayscale")
        if grey and image.ndim == 3 and image.shape[2] == 3:
            image = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        # What the loader would have left, for an image that is already in memory.
        size = image.shape[:2]
        return self.steps(
            dict(img=image, img_shape=size, ori_shape=size, img_id=number, img_path=path)
        )


def without_annotations(pipeline: Any) -> list[Mapping[str, Any]]:
    """The steps of a pipeline that do not load or use labels.

    OpenMMLab calls such a transform `…Annotations`: LoadAnnotations, LoadPanopticAnnotations,
    FilterAnnotations; with a library's name before it, or as the class itself.
    """
    return [step for step in pipeline if not _name(step).endswith("Annotations")]


def _name(step: Mapping[str, Any]) -> str:
    """The name of a step's class."""
    kind = step["type"]
    return kind.rpartition(".")[2] if isinstance(kind, str) else kind.__name__
