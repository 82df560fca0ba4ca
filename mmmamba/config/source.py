"""Values as the lines of a config file write them."""

from __future__ import annotations

import json
from typing import Any


def source(value: Any) -> str:
    """A value as configs write it: dicts by keyword, double quotes."""
    if isinstance(value, dict):
        return f"dict({', '.join(f'{key}={source(one)}' for key, one in value.items())})"
    if isinstance(value, (list, tuple)):
        inner = ", ".join(map(source, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    # JSON's texts are Python's, in double quotes, with what is not ASCII left readable.
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
