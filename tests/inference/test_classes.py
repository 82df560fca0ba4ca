"""Names and colours of classes that a checkpoint gives are names and colours."""

import pytest
from mmengine.config import Config
from torch import nn

from mmmamba.errors import UsageError
from mmmamba.inference.classes import find_classes


def found(dataset_meta: object):
    return find_classes(
        nn.Identity(), Config(dict(default_scope="mmengine")), dict(dataset_meta=dataset_meta)
    )


def test_as_a_run_writes_them():
    classes = found(dict(CLASSES=("a", "b"), PALETTE=[(1, 2, 3), [4.0, 5, 6]]))
    assert classes.names == ("a", "b") and classes.colours == ((1, 2, 3), (4, 5, 6))


@pytest.mark.parametrize(
    "dataset_meta, message",
    [
        ("coco", "describes its data set by coco, wanted a dict"),
        (dict(classes=7), "classes are 7, wanted a list of names"),
        (dict(classes=["a"], palette=["red"]), "palette has red for a colour"),
        (dict(classes=["a"], palette=[(1, 2, 300)]), r"palette has \(1, 2, 300\) for a colour"),
    ],
)
def test_anything_else_is_an_error(dataset_meta, message):
    with pytest.raises(UsageError, match=message):
        found(dataset_meta)
