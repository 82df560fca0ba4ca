"""Curves, confusion matrices and bars of a run."""
