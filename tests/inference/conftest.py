"""Runs of models that know colours, for every test here."""

from .colours import detector_run, segmentor_run  # noqa: F401
from .pair_runs import pair_run  # noqa: F401
