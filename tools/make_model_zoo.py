"""Write docs/model_zoo.md anew: python tools/make_model_zoo.py"""

import sys
from pathlib import Path

from mmmamba.commands.guard import guarded
from mmmamba.commands.list.page import model_zoo_page
from mmmamba.evaluation.counting import count
from mmmamba.models.backbones.sizes import SIZES

ROOT = Path(__file__).parents[1]


def main() -> int:
    counts = {name: count(name, size.size) for name, size in SIZES.items()}
    (ROOT / "docs" / "model_zoo.md").write_text(
        model_zoo_page(counts, ROOT / "configs"), encoding="utf-8"
    )
    return 0


if __name__ == "__main__":
    sys.exit(guarded(main))
