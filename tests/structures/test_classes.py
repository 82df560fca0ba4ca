"""Classes have colours that stay apart, or those of their data set."""

from __future__ import annotations

import pytest
from mmdet.datasets import CocoDataset, VOCDataset

from mmmamba.errors import UsageError
from mmmamba.structures.classes import Classes, choose_colours
from mmmamba.structures.colours import spread_colours


def test_a_data_set_s_palette_comes_first() -> None:
    assert choose_colours([(1, 2, 3), [4, 5, 6]], 2) == ((1, 2, 3), (4, 5, 6))
    # The longer one is another's: that of COCO, where a config names its own two classes.
    for other in (None, "random", [(1, 2, 3)], [(220, 20, 60), (119, 11, 32), (0, 0, 142)]):
        assert choose_colours(other, 2) == spread_colours(2)
    for data in (CocoDataset, VOCDataset):
        palette = data.METAINFO["palette"]
        assert choose_colours(palette, len(palette)) == spread_colours(len(palette))
    with pytest.raises(UsageError, match="the palette has blue for a colour"):
        choose_colours([(1, 2, 3), "blue"], 2)


def test_classes_of_a_data_set() -> None:
    assert Classes.from_meta({}) is None
    assert Classes.from_meta(dict(classes="cell")).names == ("cell",)
    classes = Classes.from_meta(dict(classes=["cat", "dog"], palette=[(1, 1, 1), (2, 2, 2)]))
    assert classes == Classes(("cat", "dog"), ((1, 1, 1), (2, 2, 2)), (1, 2))
    assert classes.categories == [dict(id=1, name="cat"), dict(id=2, name="dog")]
