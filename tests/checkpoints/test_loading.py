"""Authors', detectors' and our own files load by name, all of them, with a report."""

import logging

import pytest
import torch
from safetensors.torch import save_file

from mmmamba.checkpoints import CheckpointError, load_weights

from .files import BUILDERS, another, holds, published_file


@pytest.mark.parametrize("wrapper", ["model", "state_dict", None])
@pytest.mark.parametrize("prefix", ["", "module.", "module.model."])
def test_classification_file(build, tmp_path, wrapper, prefix):
    theirs = published_file(build)
    named = {prefix + name: tensor for name, tensor in theirs.items()}
    torch.save({wrapper: named, "epoch": 300} if wrapper else named, tmp_path / "file.pth")
    backbone = build()
    report = load_weights(backbone, tmp_path / "file.pth")
    shared = {name: tensor for name, tensor in theirs.items() if name in backbone.state_dict()}
    assert holds(backbone, shared) and set(report.matched) == set(shared)
    assert set(report.missing) == {
        f"outnorm{i}.{leaf}" for i in range(4) for leaf in ("weight", "bias")
    }
    assert report.unexpected and all(name not in shared for name in report.unexpected)
    assert not report.mismatched


def test_classifier_takes_all_of_a_classification_file(build):
    theirs, classifier = published_file(build), build(classifier=True)
    report = load_weights(classifier, {"model": theirs})
    assert holds(classifier, theirs) and not report.missing and not report.unexpected


@pytest.mark.parametrize("prefix", ["", "module."])
def test_detector_file(build_any, prefix):
    theirs = another(build_any().state_dict())
    file = {f"{prefix}backbone.{name}": tensor for name, tensor in theirs.items()}
    file |= {
        f"{prefix}{part}.w": torch.ones(1) for part in ("neck", "rpn_head", "roi_head.bbox_head")
    }
    backbone = build_any()
    report = load_weights(backbone, {"meta": {}, "state_dict": file, "message_hub": {}})
    assert holds(backbone, theirs) and not report.missing and not report.unexpected


def test_backbone_with_fewer_outputs_takes_a_detector_file(build):
    theirs = {f"backbone.{n}": t for n, t in another(build().state_dict()).items()} | {
        "neck.w": torch.ones(1)
    }
    report = load_weights(build(out_indices=(1, 2, 3)), {"state_dict": theirs})
    assert set(report.unexpected) == {"outnorm0.weight", "outnorm0.bias"}


def test_backbone_that_ends_early_takes_a_whole_file(build_any):
    whole = build_any()
    theirs, early = another(whole.state_dict()), build_any(out_indices=whole.out_indices[:1])
    report = load_weights(early, theirs)
    assert holds(early, {name: theirs[name] for name in early.state_dict()})
    assert set(report.unexpected) == theirs.keys() - early.state_dict().keys()
    with pytest.raises(CheckpointError, match="1 tensors of the file have no place: stray"):
        load_weights(early, theirs | {"stray": torch.ones(1)})


def test_our_own_files(build_any, tmp_path):
    theirs, backbone = another(build_any().state_dict()), build_any()
    torch.save(theirs, tmp_path / "file.pth")
    save_file(theirs, tmp_path / "file.safetensors")
    for name in ("file.pth", "file.safetensors"):
        backbone.load_state_dict(another(theirs, seed=1))
        load_weights(backbone, tmp_path / name)
        assert holds(backbone, theirs)


def test_early_names_of_vmamba():
    backbone = BUILDERS["vmamba_v0"]()
    theirs = another(BUILDERS["vmamba_v0"](classifier=True).state_dict())
    early = {}
    for name, tensor in theirs.items():
        name = name.replace("patch_embed.0", "patch_embed.proj").replace(
            "patch_embed.2", "patch_embed.norm"
        )
        if ".blocks." in name:
            name = name.replace(".norm.", ".ln_1.").replace(".op.", ".self_attention.")
        early[name.replace("classifier.", "")] = tensor
    assert not set(early) & {n for n in theirs if ".blocks." in n}
    load_weights(backbone, {"model": early})
    assert holds(backbone, {n: t for n, t in theirs.items() if n in backbone.state_dict()})


def test_linear_weights_kept_as_one_by_one_convolutions(vmamba):
    theirs = another(vmamba.state_dict())
    names = [
        n
        for n in theirs
        if n.endswith(("in_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight"))
    ]
    load_weights(vmamba, theirs | {name: theirs[name][..., None, None] for name in names})
    assert len(names) == 20 and holds(vmamba, theirs)


def test_batch_counters_may_be_absent():
    backbone = BUILDERS["mambavision"]()
    theirs = {
        n: t
        for n, t in another(backbone.state_dict()).items()
        if not n.endswith("num_batches_tracked")
    }
    load_weights(backbone, theirs)
    assert holds(backbone, theirs)


def test_half_precision_file(build):
    theirs = {
        n: t.half() if t.is_floating_point() else t
        for n, t in another(build().state_dict()).items()
    }
    backbone = build()
    load_weights(backbone, theirs)
    assert holds(
        backbone, {n: t.float() if t.is_floating_point() else t for n, t in theirs.items()}
    )


def test_the_average_of_the_weights_is_mentioned_and_can_be_chosen(vmamba):
    plain, average = another(vmamba.state_dict()), another(vmamba.state_dict(), seed=1)
    file = {"model": plain, "model_ema": average}
    assert "model_ema (key= chooses)" in str(load_weights(vmamba, file)) and holds(vmamba, plain)
    load_weights(vmamba, file, key="model_ema")
    assert holds(vmamba, average)


def test_report_reads_as_a_few_lines(vmamba, caplog):
    file = {
        f"backbone.{name}": tensor for name, tensor in published_file(BUILDERS["vmamba"]).items()
    }
    with caplog.at_level(logging.INFO, logger="mmmamba"):
        report = load_weights(vmamba, {"state_dict": file})
    assert str(report) in caplog.text
    lines = str(report).splitlines()
    assert lines[0] == f"VMamba weights from a state dict: {len(report.matched)} tensors matched"
    assert [line.split()[0] for line in lines[1:]] == [
        "missing",
        "left",
        "read",
    ] and "backbone." in lines[-1]
    assert max(map(len, lines)) < 250
