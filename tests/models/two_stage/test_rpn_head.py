"""What the batched RPN head computes for all images at once is what mmdet computes for each."""

import pytest
import torch

import mmmamba.detection  # noqa: F401  # isort: skip  (before mmcv's operators)
from mmdet.models.task_modules.prior_generators import anchor_inside_flags
from mmengine.config import ConfigDict
from mmengine.registry import MODELS, init_default_scope
from mmengine.structures import InstanceData

from mmmamba.models.two_stage.proposals import Proposals
from mmmamba.models.two_stage.rpn_head import BatchedRPNHead
from mmmamba.structures.packed_masks import PackedMasks
from tests.models.two_stage.test_training_step import batch, build, config, theirs


def head(cfg: ConfigDict) -> torch.nn.Module:
    init_default_scope("mmdet")
    return MODELS.build(
        {**cfg.rpn_head, "train_cfg": cfg.train_cfg.rpn, "test_cfg": cfg.test_cfg.rpn}
    ).train()


@pytest.mark.parametrize("border", [-1, 0, 5])
def test_which_anchors_count(border):
    ours = head(config(allowed_border=border).model)
    sizes = [(-(-200 // stride), -(-333 // stride)) for stride in (4, 8, 16, 32, 64)]
    metas = [
        dict(pad_shape=(224, 352), img_shape=(200, 333)),
        dict(pad_shape=(160, 320, 3), img_shape=(153, 300, 3)),
        dict(pad_shape=(100, 90), img_shape=(100, 90)),
    ]
    anchors, found = ours._anchors(sizes, torch.device("cpu"), metas)
    for valid, meta in zip(found, metas):
        flags = torch.cat(ours.prior_generator.valid_flags(sizes, meta["pad_shape"], "cpu"))
        assert valid.equal(anchor_inside_flags(anchors, flags, meta["img_shape"], border))
    assert not found.all() and found.any(dim=1).all()


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("nms_pre", "smallest"), [(60, 0), (-1, 30), (60, -1)])
def test_proposals_of_each_image(nms_pre, smallest, training):
    """Boxes beyond the image and levels of different lengths among them."""
    cfg = config().model
    found = []
    for model in (cfg, theirs(cfg)):
        rpn = head(model).train(training)
        proposal_cfg = ConfigDict(
            model.train_cfg.rpn_proposal, nms_pre=nms_pre, min_bbox_size=smallest
        )
        generator = torch.Generator().manual_seed(0)
        sizes = [(2, 3, 64 // 2**level, 48 // 2**level) for level in range(5)]
        scores = [torch.randn(size, generator=generator) for size in sizes]
        deltas = [torch.randn(b, 4 * a, h, w, generator=generator) for b, a, h, w in sizes]
        metas = [dict(img_shape=(256, 192)), dict(img_shape=(200, 150))]
        found.append(rpn.predict_by_feat(scores, deltas, batch_img_metas=metas, cfg=proposal_cfg))
    assert isinstance(found[0], Proposals) and isinstance(found[1], list)
    for ours, wanted in zip(*found, strict=True):
        assert isinstance(ours, InstanceData) and 10 < len(ours) <= 40
        assert set(ours.keys()) == set(wanted.keys())
        torch.testing.assert_close(ours.bboxes, wanted.bboxes)
        assert ours.scores.equal(wanted.scores) and ours.labels.equal(wanted.labels)


def test_too_small_everywhere_proposes_nothing():
    model = config().model
    cfg = ConfigDict(model.train_cfg.rpn_proposal, min_bbox_size=10**4)
    scores, deltas = ([torch.zeros(2, n, 8, 8)] for n in (3, 12))
    model.rpn_head.anchor_generator.strides = [8]
    metas = [dict(img_shape=(64, 64))] * 2
    found = head(model).predict_by_feat(scores, deltas, batch_img_metas=metas, cfg=cfg)
    assert [len(one) for one in found] == [0, 0] and found.padded.there_BN.sum() == 0


@pytest.mark.parametrize("shape", [(30, 30), (200, 8)])
def test_an_image_without_anchors_is_an_error(shape):
    """Found without a look at the GPU, where mmdet's flags say the same."""
    ours = head(config(allowed_border=0).model)
    ours.prior_generator.base_anchors = ours.prior_generator.base_anchors[:1]
    ours.prior_generator.strides = ours.prior_generator.strides[:1]
    sizes = [(64, 64)]
    for image in (shape, (64, 64)):
        meta = dict(pad_shape=(256, 256), img_shape=image)
        anchors = ours.prior_generator.grid_priors(sizes, device="cpu")[0]
        flags = ours.prior_generator.valid_flags(sizes, meta["pad_shape"], "cpu")[0]
        inside = anchor_inside_flags(anchors, flags, meta["img_shape"], 0)
        if inside.any():
            _, valid = ours._anchors(sizes, torch.device("cpu"), [meta])
            assert valid[0].equal(inside)
        else:
            with pytest.raises(ValueError, match="allowed_border"):
                ours._anchors(sizes, torch.device("cpu"), [meta])
    assert inside.any()


@pytest.mark.parametrize("pos_weight", [-1, 2.0])
def test_losses_and_proposals_together_are_those_apart(pos_weight):
    """Outputs are laid out once for both."""
    cfg = config(pos_weight=pos_weight)
    model = build(cfg.model)
    data = model.data_preprocessor(batch([3, 0, 5], PackedMasks), True)
    samples, head = data["data_samples"], model.rpn_head
    maps = model.extract_feat(data["inputs"])
    proposal_cfg = cfg.model.train_cfg.rpn_proposal
    gts, metas = ([getattr(one, key) for one in samples] for key in ("gt_instances", "metainfo"))
    losses, proposals = head.loss_and_predict(maps, samples, proposal_cfg)
    outs = head(maps)
    wanted = head.loss_by_feat(*outs, gts, metas)
    assert losses.keys() == wanted.keys()
    assert all(losses[key].equal(value) for key, value in wanted.items())
    apart = head.predict_by_feat(*outs, batch_img_metas=metas, cfg=proposal_cfg)
    for one, other in zip(proposals, apart, strict=True):
        assert one.bboxes.equal(other.bboxes) and one.scores.equal(other.scores)


def test_a_head_with_losses_of_its_own_keeps_them():
    class Own(BatchedRPNHead):
        def loss_by_feat(self, *args, **kwargs):
            return dict(loss_own=torch.ones(()))

    model = build(config().model)
    data = model.data_preprocessor(batch([2], PackedMasks), True)
    model.rpn_head.__class__ = Own
    losses = model(**data, mode="loss")
    assert "loss_own" in losses and "loss_rpn_cls" not in losses
