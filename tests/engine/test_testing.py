"""Where predictions of a test go."""

from mmengine.config import Config

from mmmamba.engine.testing import add_output


def test_every_metric_of_a_segmentor_saves_its_maps():
    iou, dice = dict(type="IoUMetric"), dict(type="IoUMetric", iou_metrics=["mDice"])
    cfg = Config(dict(default_scope="mmseg", test_evaluator=[iou, dice]))
    add_output(cfg, "maps")
    assert [metric.output_dir for metric in cfg.test_evaluator] == ["maps", "maps"]
