"""Sigma (Wan et al., arXiv 2404.04256, WACV 2025): segmentation of two aligned images.

`backbone` and `head` are what mmseg's `EncoderDecoder` puts together. Nothing is imported here: the
backbone works without mmseg.
"""
