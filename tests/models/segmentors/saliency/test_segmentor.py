"""SUM as a segmentor: conditions of the data, losses, maps at the size of the files."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmseg.structures import SegDataSample

from mmmamba.errors import UsageError

from .tiny import build, images, lively, samples


def test_the_condition_is_the_samples_or_the_models() -> None:
    model = lively(build(condition="ui")).eval()
    told = [SegDataSample(metainfo=dict(condition=c)) for c in ("ui", "natural_eye", 3, 1)]
    with torch.no_grad():
        by_sample = model(images(1).repeat(4, 1, 1, 1), told, mode="tensor")
        by_model = model(images(1), mode="tensor")
    torch.testing.assert_close(by_sample[0], by_model[0], rtol=1e-4, atol=1e-5)
    assert torch.equal(by_sample[0], by_sample[2]) and torch.equal(by_sample[1], by_sample[3])
    assert not torch.allclose(by_sample[0], by_sample[1], atol=1e-3)


@pytest.mark.parametrize(
    ("condition", "message"),
    [("natural_mous", "Did you mean 'natural_mouse'"), (4, "3 'ui'"), (True, "True")],
)
def test_an_unknown_condition_is_refused(condition: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(condition=condition)
    with pytest.raises(UsageError, match=message):
        build()(images(1), [SegDataSample(metainfo=dict(condition=condition))], mode="predict")


def test_maps_come_back_at_the_size_of_the_files() -> None:
    """A size that the network does not take is made its own; padding and flips are undone."""
    model = build().eval()
    metas = [
        dict(ori_shape=(50, 90)),
        dict(ori_shape=(30, 40), img_padding_size=(0, 20, 0, 4)),
        dict(ori_shape=(64, 64), flip=True, flip_direction="horizontal"),
        {},
    ]
    given = images(1, 70, 84).repeat(4, 1, 1, 1)
    with torch.no_grad():
        found = model(given, [SegDataSample(metainfo=meta) for meta in metas], mode="predict")
    maps = [sample.pred_saliency.data for sample in found]
    assert [tuple(m.shape) for m in maps] == [(1, 50, 90), (1, 30, 40), (1, 64, 64), (1, 70, 84)]
    assert all(m.min() >= 0 and m.max() <= 1 and m.dtype == torch.float32 for m in maps)
    flipped = torch.nn.functional.interpolate(maps[3][None], (64, 64), mode="bilinear")[0]
    torch.testing.assert_close(maps[2], flipped.flip(2), rtol=1e-3, atol=1e-3)


def test_a_training_step() -> None:
    model = build().train()
    raw = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    optimizer = build_optim_wrapper(model, dict(optimizer=dict(type="Adam", lr=1e-4)))
    losses = model.train_step(dict(inputs=raw, data_samples=samples()), optimizer)
    terms = {"loss_kl", "loss_cc", "loss_sim", "loss_nss", "loss_mse"}
    assert terms <= losses.keys() and all(torch.isfinite(losses[name]) for name in terms)


def test_what_the_data_lack_is_told() -> None:
    model = build()
    with pytest.raises(UsageError, match="nss_weight=0"):
        model.loss(images(), samples(fixations=False))
    with pytest.raises(UsageError, match="LoadSaliencyAnnotations"):
        model.loss(images(), [SegDataSample(), SegDataSample()])
    unread = build(loss=dict(type="SaliencyLoss", nss_weight=0))
    assert "loss_nss" not in unread.loss(images(), samples(fixations=False))
    odd = [torch.zeros(3, 64, 64), torch.zeros(3, 64, 96)]
    with pytest.raises(UsageError, match="64 x 64, 64 x 96"):
        model.data_preprocessor(dict(inputs=odd, data_samples=samples()), True)
    with pytest.raises(UsageError, match="multiples of 32"):
        build(size=(100, 256))


@pytest.mark.slow
def test_it_learns_two_images_by_heart() -> None:
    """A bright corner in each, where people looked, in thirty steps."""
    model, truth = build(), samples()
    for name in ("gt_saliency", "gt_fixation"):
        held = truth[1].get(name)
        held.data = held.data.flip(2)
    batch = 0.3 * images() + 2 * torch.stack([sample.gt_saliency.data for sample in truth])
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(30):
        losses = model.loss(batch, truth)
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
    # Of the weighted terms -2 CC and -1 SIM.
    assert losses["loss_cc"] < -1.98 and losses["loss_sim"] < -0.95
