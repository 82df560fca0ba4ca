"""Authors', detectors' and our own files load by name; anything but a clean match is an error that loads nothing."""

import copy
import logging

import pytest
import torch
from mmengine.model import PretrainedInit
from safetensors.torch import save_file
from torch import nn

from mmmamba.checkpoints import (
    CheckpointError,
    KeyMap,
    PositionGrid,
    is_pretrained,
    load_init_cfg,
    load_weights,
)
from mmmamba.checkpoints.key_maps import KEY_MAPS, MARKS
from mmmamba.models.backbones import MambaVision, MambaYOLOBackbone, VMamba
from mmmamba.models.trunks.base import MambaBackbone

V0 = dict(
    d_state=16,
    ssm_ratio=2.0,
    mlp_ratio=0.0,
    stem="patch",
    downsample="merging",
    gate=True,
    conv_bias=True,
)
V0_TINY = dict(arch=dict(V0, embed_dims=16, depths=(1, 1, 1, 1)))
BUILDERS = {
    "vmamba": lambda **a: VMamba(**VMamba.TINY, **a),
    "vmamba_v0": lambda **a: VMamba(**V0_TINY, **a),
    "mambavision": lambda **a: MambaVision(**MambaVision.TINY, **a),
}


def another(state, seed=0):
    """The same names with other values."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(tensor.shape, generator=generator) + 0.5
        if tensor.is_floating_point()
        else tensor + 3
        for name, tensor in state.items()
    }


@pytest.fixture(params=BUILDERS)
def build(request):
    return BUILDERS[request.param]


@pytest.fixture
def vmamba():
    return BUILDERS["vmamba"]()


def holds(module, state):
    ours = module.state_dict()
    return all(torch.equal(ours[name], tensor) for name, tensor in state.items())


def published_file(build):
    """What a classification file holds: no output norms, a classifier."""
    return another(build(classifier=True).state_dict())


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


def test_classifier_refuses_a_file_without_one(build):
    with pytest.raises(CheckpointError, match="head"):
        load_weights(build(classifier=True), build().state_dict())


@pytest.fixture(params=MambaBackbone.families(), ids=lambda family: family.__name__)
def build_any(request):
    return lambda **given: request.param(**request.param.TINY | given)


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


def test_detector_file_must_have_its_output_norms(vmamba):
    file = {
        f"backbone.{n}": t
        for n, t in another(vmamba.state_dict()).items()
        if not n.startswith("outnorm")
    }
    file["neck.w"] = torch.ones(1)
    with pytest.raises(CheckpointError, match="8 of .* not in the file: outnorm0.weight"):
        load_weights(vmamba, {"state_dict": file})
    with pytest.raises(CheckpointError, match="outnorm0.weight"):
        load_weights(vmamba, {"state_dict": file}, prefix="backbone.")
    load_weights(vmamba, {"state_dict": file}, allow_missing=[r"outnorm\d\..*"])


def test_some_output_norms_are_as_wrong_as_a_hole(vmamba):
    theirs = {n: t for n, t in another(vmamba.state_dict()).items() if not n.startswith("outnorm2")}
    with pytest.raises(CheckpointError, match="2 of .*outnorm2"):
        load_weights(vmamba, theirs)


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


def wrong_files(vmamba):
    good = another(vmamba.state_dict())
    first = "layers.0.blocks.0.op.in_proj.weight"
    wider = VMamba(arch=dict(embed_dims=32, depths=(1, 1, 2, 1)))
    deeper = VMamba(arch=dict(embed_dims=16, depths=(1, 1, 3, 1)))
    return {
        "hole": (
            {n: t for n, t in good.items() if n != first},
            "1 of .* not in the file: " + first,
        ),
        "surplus": (
            good | {"extra.weight": torch.ones(1)},
            "1 tensors of the file have no place: extra.weight",
        ),
        "shape": (
            good | {first: torch.ones(3, 3)},
            r"in_proj.weight \(3, 3\) in the file, \(.*\) here",
        ),
        "nan": (
            good | {first: torch.full_like(good[first], torch.nan)},
            "NaN or infinity: " + first,
        ),
        "wider": (
            wider.state_dict(),
            r"The file is a .*blocks 1, 1, 2, 1; widths 32.*; this module .* widths 16",
        ),
        "deeper": (
            deeper.state_dict(),
            r"The file is a .*blocks 1, 1, 3, 1.*; this module is a .*blocks 1, 1, 2, 1",
        ),
        "family": (
            BUILDERS["mambavision"]().state_dict(),
            "looks like one of MambaVision, not of VMamba",
        ),
        "unknown": ({"a.b": torch.ones(1)}, "of no family known here"),
        "twice": (
            good | {"patch_embed.proj.weight": torch.ones(1)},
            "both become 'patch_embed.0.weight'",
        ),
    }


@pytest.mark.parametrize(
    "kind", ["hole", "surplus", "shape", "nan", "wider", "deeper", "family", "unknown", "twice"]
)
def test_nothing_is_loaded_from_a_file_that_does_not_fit(vmamba, kind):
    file, message = wrong_files(vmamba)[kind]
    before = copy.deepcopy(vmamba.state_dict())
    with pytest.raises(CheckpointError, match=message):
        load_weights(vmamba, file)
    assert holds(vmamba, before)


def test_a_close_relative_is_told_apart():
    backbone = BUILDERS["vmamba_v0"]()
    file = another(backbone.state_dict()) | {
        "layers.0.blocks.0.op.multi_scan.attn.norm.weight": torch.ones(4)
    }
    with pytest.raises(CheckpointError, match="looks like one of LocalVMamba, not of VMamba"):
        load_weights(backbone, file)


def test_published_variants_are_named():
    with torch.device("meta"):
        small = VMamba("vmamba_s").state_dict()
        vision = MambaVision("mambavision_s").state_dict()
    assert (
        KEY_MAPS["VMamba"].fingerprint.describe(small)
        == "vmamba_s (blocks 2, 2, 15, 2; widths 96, 192)"
    )
    assert (
        KEY_MAPS["MambaVision"].fingerprint.describe(vision)
        == "mambavision_s (blocks 3, 3, 7, 5; widths 96)"
    )


@pytest.mark.parametrize("family", [VMamba, MambaVision, MambaYOLOBackbone])
def test_every_variant_of_a_family_has_its_fingerprint(family):
    fingerprint = KEY_MAPS[family.__name__].fingerprint
    for name in family.ARCHS:
        with torch.device("meta"):
            state = family(name).state_dict()
        assert name in fingerprint.variants[fingerprint.of(state)].split(" or ")


def test_every_family_has_a_key_map():
    assert {family.__name__ for family in MambaBackbone.families()} <= set(KEY_MAPS)


def test_every_key_map_has_a_mark():
    assert {name.removesuffix("Backbone") for name in KEY_MAPS} <= {family for family, _ in MARKS}


def test_nothing_that_is_a_state_dict(vmamba):
    with pytest.raises(
        CheckpointError, match=r"no state dict in it.*epoch \(int\), optimizer \(dict\)"
    ):
        load_weights(vmamba, {"epoch": 1, "optimizer": {}})
    with pytest.raises(CheckpointError, match="no weights under key='ema'"):
        load_weights(vmamba, {"model": vmamba.state_dict()}, key="ema")
    with pytest.raises(CheckpointError, match="prefix='student.'; there are backbone., neck."):
        load_weights(
            vmamba, {"backbone.w": torch.ones(1), "neck.w": torch.ones(1)}, prefix="student."
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
        "unexpected",
        "read",
    ] and "backbone." in lines[-1]
    assert max(map(len, lines)) < 250


def test_meta_module_is_refused():
    with torch.device("meta"):
        backbone = BUILDERS["vmamba"]()
    with pytest.raises(CheckpointError, match="meta device"):
        load_weights(backbone, published_file(BUILDERS["vmamba"]))


def test_family_by_base_class_by_name_and_as_data():
    class Mine(VMamba):
        pass

    theirs = another(BUILDERS["vmamba"]().state_dict())
    mine = Mine(**VMamba.TINY)
    assert load_weights(mine, theirs).family == "VMamba" and holds(mine, theirs)
    linear = nn.Linear(2, 2)
    with pytest.raises(CheckpointError, match="no key map for Linear"):
        load_weights(linear, linear.state_dict())
    with pytest.raises(CheckpointError, match="Did you mean 'VMamba'"):
        load_weights(linear, linear.state_dict(), family="Vmamba")
    old = KeyMap(renames=((r"^old\.", ""),))
    load_weights(linear, {"old.weight": torch.ones(2, 2), "old.bias": torch.ones(2)}, family=old)
    assert linear.weight.eq(1).all()


class Plain(nn.Module):
    """A column with position embeddings of a grid, as Vim has."""

    def __init__(self, height, width, class_token):
        super().__init__()
        self.grid = (height, width)
        self.pos_embed = nn.Parameter(torch.zeros(1, height * width + class_token, 8))


def test_position_embeddings_of_another_grid_are_resized():
    key_map = KeyMap(resize=(("pos_embed", PositionGrid("middle", "grid")),))
    module = Plain(6, 9, class_token=True)
    report = load_weights(
        module, {"model": {"pos_embed": torch.randn(1, 4 * 4 + 1, 8)}}, family=key_map
    )
    assert report.resized == ["pos_embed"] and module.pos_embed.abs().sum() > 0
    with pytest.raises(CheckpointError, match="'pos_embed': .*no square grid"):
        load_weights(module, {"pos_embed": torch.randn(1, 12, 8)}, family=key_map)


def test_init_cfg(vmamba, tmp_path):
    theirs = another(vmamba.state_dict())
    path = tmp_path / "detector.pth"
    torch.save(
        {"state_dict": {f"backbone.{n}": t for n, t in theirs.items()} | {"neck.w": torch.ones(1)}},
        path,
    )
    cfg = dict(type="Pretrained", checkpoint=str(path), prefix="backbone.")
    assert (
        is_pretrained(cfg) and not is_pretrained(None) and not is_pretrained(dict(type="Kaiming"))
    )
    assert is_pretrained(dict(type=PretrainedInit, checkpoint="x"))
    load_init_cfg(vmamba, cfg)
    assert holds(vmamba, theirs)
    assert not is_pretrained([dict(type="Kaiming"), dict(type="Constant")])
    with pytest.raises(CheckpointError, match="a list with 'Pretrained' in it"):
        is_pretrained([dict(type="Kaiming"), cfg])
    with pytest.raises(CheckpointError, match="unknown entry 'prefx'.*Did you mean 'prefix'"):
        load_init_cfg(vmamba, dict(type="Pretrained", checkpoint=str(path), prefx="backbone."))
    with pytest.raises(CheckpointError, match="names no checkpoint"):
        load_init_cfg(vmamba, dict(type="Pretrained", checkpoint=""))


def test_init_weights_of_a_backbone_goes_through_the_loader(build, tmp_path):
    theirs, path = published_file(build), tmp_path / "file.pth"
    torch.save({"model": theirs}, path)
    backbone = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    backbone.init_weights()
    assert holds(backbone, {n: t for n, t in theirs.items() if n in backbone.state_dict()})
    torch.save({"model": {n: t for n, t in theirs.items() if "blocks.0" not in n}}, path)
    with pytest.raises(CheckpointError):
        build(init_cfg=dict(type="Pretrained", checkpoint=str(path))).init_weights()


def test_another_shape_that_is_allowed_is_left_out_and_told(vmamba):
    name = "outnorm3.weight"
    theirs = another(vmamba.state_dict())
    before = vmamba.state_dict()[name].clone()
    theirs[name] = torch.ones(1)
    with pytest.raises(CheckpointError, match="1 tensors have another shape"):
        load_weights(vmamba, theirs)
    report = load_weights(vmamba, theirs, allow_mismatched=[name])
    assert list(report.mismatched) == [name] and torch.equal(vmamba.state_dict()[name], before)
    assert holds(vmamba, {key: tensor for key, tensor in theirs.items() if key != name})
