"""Configs for pairs of images: whose they are made of, and what of them changes."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.config import Config

from ...config.find import config_name, list_configs
from ...config.source import source
from ...datasets.discovery import LabelData, SecondImages, find_second_images
from ...errors import UsageError
from ...suggest import did_you_mean
from .heads import Base

SIGMA, DEFAULT_OF_PAIRS = "sigma", "sigma_t"
SIGMA_DATA = "_mfnet-480x640"
"""What follows the size in the name of the configs that are taken."""
COLOUR_CHANNELS = 3
PAIRS = """\
# What becomes of steps for single images.
pairs = {{
    "LoadImageFromFile": dict({load}),
    "LoadPairedImage": dict({load}),
    "PhotoMetricDistortion": dict(type="PhotoMetricDistortionOfRGB"),
    "Pad": dict(type="PadAnyChannels"),
}}"""
PIPELINE = "[dict(step, **pairs.get(step.type, {{}})) for step in {pipeline}]"


def pair_base(backbone: str, head: str, second_modality: str | None) -> Base | None:
    """Sigma's config, where that is what is asked for; None for heads of single images.

    Raises:
        UsageError: there is no such size of Sigma, or there are no second images for it.
    """
    if head != SIGMA:
        return None
    sizes: dict[str, Path] = {}
    for path in list_configs():
        if path.parent.name == SIGMA and path.stem.endswith(SIGMA_DATA):
            sizes[path.stem.removesuffix(SIGMA_DATA)] = path
    if backbone not in sizes:
        raise UsageError(
            f"--head {SIGMA} is the whole of Sigma, with its own backbones: {', '.join(sizes)}."
            f"{did_you_mean(backbone, sizes, 1)} Pairs on another backbone: --head upernet"
        )
    if second_modality is None:
        raise UsageError(f"--head {SIGMA} learns from pairs: --second-modality DIR")
    config = Config.fromfile(sizes[backbone])
    return Base(config, config, config_name(sizes[backbone]), "mmmamba", segments=True)


def second_of(base: Base, data: Any, root: Path, given: str, head: str) -> SecondImages:
    """The second images of a data set.

    Raises:
        UsageError: the head learns from something else than label maps, or there are none.
    """
    if not isinstance(data, LabelData):
        raise UsageError(
            f"--second-modality {given} is for label maps of pairs, which {head} does not learn "
            f"from: --head {SIGMA}, or upernet and others of segmentors"
        )
    # Sigma's encoder takes three channels of each image, pretrained as it is.
    channels = COLOUR_CHANNELS if base.config.model.backbone.type == "SigmaBackbone" else None
    return find_second_images(root, data, given, channels)


def with_pairs(base: Base, second: SecondImages) -> Base:
    """The base with a model that takes pairs, each of the two with its own means."""
    config = Config(deepcopy(base.config.to_dict()), filename=base.config.filename)
    model = config.model
    preprocessor = model.data_preprocessor
    preprocessor.type = "AnyChannelsSegDataPreProcessor"
    for key in ("mean", "std"):
        own = list(preprocessor[key])[:COLOUR_CHANNELS]
        preprocessor[key] = [*own, *getattr(second, key)]
    # Pairs are read with red first, and weights of ImageNet want it so.
    for key in ("bgr_to_rgb", "rgb_to_bgr"):
        if key in preprocessor or key == "bgr_to_rgb":
            preprocessor[key] = False
    if model.backbone.type != "SigmaBackbone":
        model.backbone.in_channels = COLOUR_CHANNELS + second.channels
    return replace(base, config=config)


def pairs_text(second: SecondImages) -> str:
    """The lines that say how pairs are loaded."""
    read = dict(
        type="LoadPairedImage",
        second_channels=second.channels,
        second_color_type=second.color_type,
    )
    return PAIRS.format(load=", ".join(f"{key}={source(value)}" for key, value in read.items()))


def paired_pipeline(pipeline: str) -> str:
    """Source of a pipeline for pairs, of that of one which may be for single images."""
    return PIPELINE.format(pipeline=pipeline)
