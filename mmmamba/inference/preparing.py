"""What a config's test pipeline does to an image of the user's own, which has no annotations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.registry import TRANSFORMS, DefaultScope

from ..datasets.nodes import dataset_of_tests
from ..errors import UsageError
from .sources import UnreadableImage, local_file


@dataclass(frozen=True)
class Preparation:
    """The test pipeline of a config: its loader of files, and what comes after it."""

    load: Any
    steps: Compose

    @classmethod
    def of_config(cls, cfg: Config, name: str | Path) -> Preparation:
        """The pipeline of the first data set that a config tests on, without annotations.

        Args:
            name: what errors call the config.

        Raises:
            UsageError: the config has no such pipeline, or one that does not begin with a loader.
        """
        steps = without_annotations(dataset_of_tests(cfg).get("pipeline") or ())
        if not steps or "Load" not in _name(steps[0]):
            raise UsageError(
                f"{name} does not say how images are prepared: test_dataloader.dataset.pipeline "
                "must begin with dict(type='LoadImageFromFile')"
            )
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope", "mmdet")):
            # The loader stands apart, as arrays and tiles do not pass through it.
            return cls(TRANSFORMS.build(steps[0]), Compose(steps[1:]))

    def read(self, path: str | Path) -> np.ndarray:
        """An image as the config's loader reads it, from a path or a URL.

        By default that is (H, W, 3) in 8 bits, turned as EXIF says, grey as three channels.

        Raises:
            UnreadableImage: it cannot be read.
        """
        with local_file(str(path)) as file:
            try:
                return self.load(dict(img_path=str(file)))["img"]
            except (AssertionError, cv2.error) as error:
                # mmcv's loader asserts that OpenCV could decode the file.
                more = f" ({error.err})" if isinstance(error, cv2.error) else ""
                raise UnreadableImage(
                    f"{path}: no image of a known format, or damaged{more}"
                ) from error
            except (OSError, ValueError) as error:
                raise UnreadableImage(f"{path}: {error}") from error

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
