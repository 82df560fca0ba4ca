"""Runs of models that know colours, for every test here."""

from .colours import detector_run, segmentor_run  # noqa: F401
