"""Triton kernels of the operators, a file each, named as the operator's."""
