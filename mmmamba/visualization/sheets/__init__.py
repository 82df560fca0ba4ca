"""Sheets of several images, with what is labelled and what was predicted."""
