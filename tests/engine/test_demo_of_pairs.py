"""The demo of a config that reads pairs: it draws pairs, for any number of channels and units."""

import pytest
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, DefaultScope

import mmmamba.segmentation  # noqa: F401
from mmmamba.config.find import find_config
from mmmamba.datasets.shape_pairs import CLASSES
from mmmamba.datasets.shapes import ShapesSpec
from mmmamba.engine.demo import apply_demo


@pytest.mark.parametrize("second", [1, 3])
def test_it_draws_pairs(second, tmp_path):
    cfg = Config.fromfile(find_config("sigma/sigma_t_mfnet-480x640"))
    # Values of 16 bits, which the drawn images do not have.
    cfg.model.data_preprocessor.mean = [123.7, 116.3, 103.5, *[30_000.0] * second]
    cfg.model.data_preprocessor.std = [58.4, 57.1, 57.4, *[9_000.0] * second]
    apply_demo(cfg, tmp_path / "shapes", ShapesSpec(num_train=4, num_val=2, size=64))
    assert cfg.model.decode_head.num_classes == len(CLASSES)
    # The recipe counts epochs, the demo iterations.
    assert not cfg.log_processor.by_epoch and not cfg.default_hooks.checkpoint.by_epoch
    with DefaultScope.overwrite_default_scope("mmseg"):
        data = {
            split: DATASETS.build(cfg[f"{split}_dataloader"].dataset) for split in ("train", "val")
        }
        preprocessor = MODELS.build(cfg.model.data_preprocessor)
    assert [len(data[split]) for split in data] == [4, 2]
    sample = data["train"][0]
    batch = dict(inputs=[sample["inputs"]], data_samples=[sample["data_samples"]])
    inputs = preprocessor(batch, training=True)["inputs"]
    assert inputs.shape == (1, 3 + second, 64, 64)
    # What is seen of both is of the order of 1, with something on it.
    for part in (inputs[:, :3], inputs[:, 3:]):
        assert part.abs().max() < 4 and part.std() > 0.2
