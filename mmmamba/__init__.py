"""Mamba backbones for OpenMMLab detectors and segmentors."""
