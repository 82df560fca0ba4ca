"""MambaVision-T with its detection windows, which make one window of the whole map.

    MMMAMBA_PARITY_DEVICE=cuda python benchmarks/mambavision_detection.py

12,544 tokens at 800 x 1333. First the authors' figures for these windows in float32, then the
distance of bfloat16 to float32, and time and memory in bfloat16.
"""

import torch
from common import GIB, Column, Table, median_ms, parser, save

import mmmamba
from tests.parity import harness, recipe

WINDOWS = (8, 8, 112, 56)


def build() -> torch.nn.Module:
    return mmmamba.create_backbone("mambavision_t", window_size=WINDOWS)


def main() -> None:
    options = parser(__doc__)
    args = options.parse_args()
    if harness.DEVICE != "cuda":
        options.error(
            "set MMMAMBA_PARITY_DEVICE=cuda: the figures are checked on the device that is timed"
        )
    harness.check_maps(recipe.load_case("mambavision/mamba_vision_T_det.json"), build)
    print("float32 on this device equals the authors' figures (5e-5 of the std)")
    torch.manual_seed(0)
    model = build().cuda().eval()
    x = torch.randn(1, 3, 800, 1333, device="cuda")
    with torch.no_grad():
        want = model(x)
        with torch.autocast("cuda", torch.bfloat16):
            got = model(x)
    distances = Table(
        "distance",
        "bfloat16 from float32, in standard deviations",
        Column("map", "map"),
        Column("off", "off", ".4f"),
    )
    for i, (a, b) in enumerate(zip(got, want)):
        off = float((a.float() - b).pow(2).mean().sqrt() / b.std())
        distances.add(map=f"stage{i} {tuple(b.shape)}", off=off)

    def infer() -> None:
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            model(x)

    def train() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            loss = sum(m.float().mean() for m in model(x))
        loss.backward()

    speed = Table(
        "speed",
        "1 x 800 x 1333, bfloat16",
        Column("pass", "what"),
        Column("ms", "ms", ".1f"),
        Column("GiB", "gib", ".2f"),
    )
    for name, step in (("inference", infer), ("forward + backward", train)):
        model.train(step is train)
        torch.cuda.reset_peak_memory_stats()
        spent = median_ms(step, warmup=200, rep=800)
        speed.add(what=name, ms=spent, gib=torch.cuda.max_memory_allocated() / GIB)
    for table in (distances, speed):
        table.show()
    save(args.out, speed, distances)


if __name__ == "__main__":
    main()
