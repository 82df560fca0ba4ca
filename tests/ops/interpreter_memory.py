"""Every address that a kernel touches in Triton's interpreter must lie in a tensor it was given.

A GPU notices such a step only where the memory beyond happens to be unmapped.
"""

import numpy as np


class _Checked:
    """The interpreter's memory module, which looks at addresses first."""

    def __init__(self, memory):
        self._memory = memory
        self.ranges: list[tuple[int, int]] = []

    def __getattr__(self, name):
        return getattr(self._memory, name)

    def _check(self, addresses, mask, size: int) -> None:
        touched = np.asarray(addresses, dtype=np.uint64)[np.asarray(mask, dtype=bool)]
        inside = np.zeros(touched.shape, dtype=bool)
        for start, end in self.ranges:
            inside |= (touched >= start) & (touched + np.uint64(size) <= end)
        assert inside.all(), (
            f"{int((~inside).sum())} addresses lie outside of every tensor that the kernel "
            "was given"
        )

    def load(self, addresses, mask, other, dtype):
        self._check(addresses, mask, np.dtype(dtype).itemsize)
        return self._memory.load(addresses, mask, other, dtype)

    def store(self, addresses, values, mask):
        self._check(addresses, mask, values.dtype.itemsize)
        return self._memory.store(addresses, values, mask)


def check_addresses(monkeypatch) -> None:
    """Make the interpreter check, until `monkeypatch` is undone."""
    from triton.runtime import interpreter

    memory = _Checked(interpreter._interpreter)
    given = interpreter.GridExecutor._init_args_hst

    def remember(self, *args, **kwargs):
        arguments = given(self, *args, **kwargs)
        tensors = [
            x for x in (*arguments[0], *arguments[1].values()) if hasattr(x, "untyped_storage")
        ]
        starts = [x.untyped_storage().data_ptr() for x in tensors]
        memory.ranges = [
            (np.uint64(s), np.uint64(s + x.untyped_storage().nbytes()))
            for s, x in zip(starts, tensors)
        ]
        return arguments

    monkeypatch.setattr(interpreter, "_interpreter", memory)
    monkeypatch.setattr(interpreter.GridExecutor, "_init_args_hst", remember)
