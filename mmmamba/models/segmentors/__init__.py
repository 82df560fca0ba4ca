"""Segmentors that were published whole: their encoders, which stand in no other network, and heads.

mmseg's `EncoderDecoder` puts encoder and head together. Nothing is imported here: the heads need
mmseg and come with `mmmamba.segmentation`.
"""
