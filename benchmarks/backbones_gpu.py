"""Backbones beside timm's Swin-T and ConvNeXt-T: images a second and memory on a GPU.

    python benchmarks/backbones_gpu.py [--models vmamba_t mambavision_t] [--cases 224 800]

bfloat16 autocast, channels-last images. First each of ours is held to its authors' figures in
float32 on this device; a model that misses them gets no numbers. Training is forward and backward
without the optimizer; 224 x 224 is the whole classifier, larger images the backbone.
"""

import sys

import torch
from common import Column, Table, clean, median_ms, parser, peak_gib, save
from peers import PEERS, timm_peer

import mmmamba
from tests.parity import harness, recipe

FIGURES = {
    "vmamba_t": "vmamba/vmamba_tiny_s1l8.json",
    "vmamba_t_s2l5": "vmamba/vmamba_tiny_s2l5.json",
    "mambavision_t": "mambavision/mamba_vision_T.json",
    "localvmamba_t": "localmamba/localvmamba_tiny.json",
    "efficientvmamba_t": "efficientvmamba/efficientvmamba_tiny.json",
}
CASES = {
    "224": [(128, 224, 224)],
    "800": [(2, 800, 1344), (8, 800, 1344)],
}


def check(name: str) -> str | None:
    """What is wrong with the model on this device, or None."""
    try:
        harness.check_maps(recipe.load_case(FIGURES[name]), lambda: mmmamba.create_backbone(name))
    except AssertionError as error:
        return str(error).splitlines()[0]
    return None


def build(name: str, size: tuple[int, int]) -> torch.nn.Module:
    """The classifier at 224, as such figures are published; else the backbone with its maps."""
    classifier = size == (224, 224)
    if name in PEERS:
        return timm_peer(name, size, classifier)
    return mmmamba.create_backbone(name, classifier=classifier)


def measure(name: str, batch: int, height: int, width: int) -> dict[str, float]:
    """Images a second without and with gradients, and GiB at the peak of training."""
    model = build(name, (height, width)).cuda()
    x = torch.randn(batch, 3, height, width, device="cuda").to(memory_format=torch.channels_last)

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            model(x)

    def train() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            outputs = model(x)
            maps = outputs if isinstance(outputs, (tuple, list)) else [outputs]
            loss = sum(m.float().mean() for m in maps)
        loss.backward()
        model.zero_grad(set_to_none=True)

    model.eval()
    inference = median_ms(infer, warmup=300, rep=1000)
    model.train()
    train()
    torch.cuda.reset_peak_memory_stats()
    training = median_ms(train, warmup=300, rep=1500)
    return dict(inference=batch / inference * 1e3, training=batch / training * 1e3, gib=peak_gib())


def main() -> None:
    options = parser(__doc__)
    options.add_argument(
        "--models", nargs="+", choices=FIGURES, default=["vmamba_t", "mambavision_t"]
    )
    options.add_argument("--peers", nargs="*", choices=PEERS, default=["swin_t", "convnext_t"])
    options.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    args = options.parse_args()
    if harness.DEVICE != "cuda":
        options.error(
            "set MMMAMBA_PARITY_DEVICE=cuda: the figures are checked on the device that is timed"
        )
    wrong = {name: problem for name in args.models if (problem := check(name))}
    for name, problem in wrong.items():
        print(f"{name}: {problem}")
    models = [name for name in args.models if name not in wrong]
    table = Table(
        "speed",
        "bfloat16 autocast, images a second",
        Column("input", "input"),
        Column("model", "model"),
        Column("inference", "inference", ".0f"),
        Column("forward + backward", "training", ".0f"),
        Column("training GiB", "gib", ".1f"),
    )
    for case in args.cases:
        for size in CASES[case]:
            for name in [*models, *args.peers]:
                table.add(input=" x ".join(map(str, size)), model=name, **measure(name, *size))
                clean()
    table.show()
    save(args.out, table)
    print(f"checked against the authors' figures before: {', '.join(models)}")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
