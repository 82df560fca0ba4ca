"""--verify compares points with points, on either side, and never passes what was not measured."""

from __future__ import annotations

import pytest
from mmengine.config import Config

from mmmamba.errors import UsageError
from mmmamba.evaluation.expected import check_expected, compare, print_comparison

EXPECTED = dict(
    metrics={"coco/bbox_mAP": 0.473, "coco/segm_mAP": 0.427}, source="the paper", verified=False
)
SEGMENTATION = dict(
    metrics={"mIoU": 47.9}, metrics_tta={"mIoU": 48.8}, source="the paper", verified=False
)


@pytest.mark.parametrize(
    ("box", "passed"),
    [
        (0.473, True),
        (0.471, True),
        (0.475, True),
        (0.470, False),
        (0.476, False),
        (float("nan"), False),
    ],
)
def test_cocos_fractions_are_compared_in_points(box: float, passed: bool) -> None:
    found = compare(
        {"coco/bbox_mAP": box, "coco/segm_mAP": 0.427, "coco/bbox_mAP_50": 0.69},
        EXPECTED["metrics"],
    )
    assert [c.passed for c in found] == [passed, True]
    assert found[0].expected == pytest.approx(47.3)


@pytest.mark.parametrize(
    ("miou", "passed"), [(47.9, True), (47.7, True), (48.1, True), (47.69, False), (48.2, False)]
)
def test_segmentation_is_in_points_already(miou: float, passed: bool) -> None:
    assert [c.passed for c in compare({"mIoU": miou, "aAcc": 80.0}, SEGMENTATION["metrics"])] == [
        passed
    ]


def test_another_tolerance() -> None:
    assert compare({"mIoU": 47.0}, {"mIoU": 47.9}, tolerance=1.0)[0].passed


def test_the_table_says_what_was_missed(capsys: pytest.CaptureFixture) -> None:
    assert not print_comparison(
        compare({"coco/bbox_mAP": 0.46, "coco/segm_mAP": 0.427}, EXPECTED["metrics"]), EXPECTED
    )
    box, mask = [line for line in capsys.readouterr().out.splitlines() if "mAP" in line]
    assert (
        "46.00" in box and "47.30" in box and "-1.30" in box and "±0.2" in box and "MISSED" in box
    )
    assert "passed" in mask
    assert print_comparison(
        compare({"coco/bbox_mAP": 0.473, "coco/segm_mAP": 0.427}, EXPECTED["metrics"]), EXPECTED
    )


def test_a_metric_that_was_not_measured() -> None:
    with pytest.raises(
        UsageError, match="did not measure coco/segm_mAP; it measured coco/bbox_mAP"
    ):
        compare({"coco/bbox_mAP": 0.473}, EXPECTED["metrics"])


def test_what_is_expected_of_a_run() -> None:
    cfg = Config(dict(expected=SEGMENTATION))
    assert check_expected(cfg, tta=False)["metrics"] == {"mIoU": 47.9}
    assert check_expected(cfg, tta=True)["metrics"] == {"mIoU": 48.8}
    with pytest.raises(
        UsageError, match="has no metrics_tta; it can be verified without --tta only"
    ):
        check_expected(Config(dict(expected=EXPECTED)), tta=True)
    for config in (dict(), dict(expected=None)):
        with pytest.raises(UsageError, match="compares with `expected`"):
            check_expected(Config(config), tta=False)
