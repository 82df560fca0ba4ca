"""What a user gets by default: the rows of `defaults_gpu.py`, and how one is measured."""
