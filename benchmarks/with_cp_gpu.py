"""Memory that `with_cp=True` saves in a backbone's training, and the time it costs.

    python benchmarks/with_cp_gpu.py

For the smallest published variant of each family, with the images that its detectors are trained
on, bfloat16 autocast. First outputs, gradients and running means with and without it must be equal
in float32, drop path included; a family where they are not is not measured. Then the most that is
allocated at once in a forward and a backward pass, beyond weights and their gradients. Exit code 1
where less than 40 % is saved or something differs. Without a GPU the first part alone, on small
images.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from common import DEVICE, MIB, Column, Table, clean, mean_ms, parser, save, verdict
from torch import Tensor, nn

import mmmamba
from mmmamba.models.trunks.base import MambaBackbone

# Images and their size, as a GPU gets them in training.
SUBJECTS = {
    "vmamba_t": (2, 800, 1344),
    "vmamba_v0_t": (2, 800, 1344),
    "localvmamba_t": (2, 800, 1344),
    "efficientvmamba_t": (2, 800, 1344),
    "efficientvmamba_b": (2, 800, 1344),
    "mambavision_t": (2, 800, 1344),
    "mobilemamba_b1": (2, 800, 1344),
    "localvim_t": (1, 1024, 1024),
    "vim_t": (1, 1024, 1024),
    "mamba_yolo_t": (16, 640, 640),
}
WANTED = 0.4
TOLERANCE = 1e-3


def build(name: str, with_cp: bool) -> nn.Module:
    torch.manual_seed(0)
    return mmmamba.create_backbone(name, drop_path_rate=0.1, with_cp=with_cp).to(DEVICE).train()


def image(batch: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(batch, 3, height, width, generator=generator).to(DEVICE)


def loss(maps: tuple[Tensor, ...]) -> Tensor:
    """In which every value counts differently."""
    weights = (torch.linspace(-1, 1, m.numel(), device=m.device).view_as(m) for m in maps)
    return sum((m.float() * weight).sum() for m, weight in zip(maps, weights))


def trained(name: str, with_cp: bool) -> Iterator[tuple[str, Tensor]]:
    """Outputs, gradients and buffers after a pass over a small image."""
    model = build(name, with_cp)
    torch.manual_seed(1)
    maps = model(image(2, 224, 320) if DEVICE == "cuda" else image(2, 64, 96))
    loss(maps).backward()
    yield from ((f"map {i}", m.detach()) for i, m in enumerate(maps))
    yield from ((name, p.grad) for name, p in model.named_parameters() if p.grad is not None)
    yield from model.named_buffers()


def check(name: str) -> str | None:
    """What differs most, if more than it may."""
    worst, where = 0.0, ""
    for (what, want), (_, got) in zip(trained(name, False), trained(name, True), strict=True):
        scale = want.float().abs().max().clamp(min=1e-6)
        difference = ((got.float() - want.float()).abs().max() / scale).item()
        if not difference <= worst:
            worst, where = difference, what
    print(
        f"{name}: outputs, gradients and buffers differ by {worst:.1e} of their largest value "
        f"({where})",
        flush=True,
    )
    return None if worst <= TOLERANCE else f"{where} differs by {worst:.1e}"


def measure(name: str, with_cp: bool, steps: int) -> tuple[float, float]:
    """MiB at the peak beyond weights and gradients, milliseconds of forward and backward pass."""
    model, x = build(name, with_cp), image(*SUBJECTS[name])

    def step() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            maps = model(x)
            total = sum(m.float().mean() for m in maps)
        total.backward()

    for _ in range(3):
        step()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    spent = mean_ms(step, steps)
    return (torch.cuda.max_memory_allocated() - before) / MIB, spent


def main() -> int:
    options = parser(__doc__)
    options.add_argument("--names", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    options.add_argument("--steps", type=int, default=5)
    args = options.parse_args()
    table = Table(
        "backbones",
        "with_cp, training, bfloat16 autocast",
        Column("backbone", "backbone"),
        Column("images", "images"),
        Column("MiB", "mib", ".0f"),
        Column("MiB with it", "mib_cp", ".0f"),
        Column("saved", "saved", ".0%"),
        Column("ms", "ms", ".1f"),
        Column("ms with it", "ms_cp", ".1f"),
        Column("times as long", "times", ".2f"),
    )
    missed = []
    for name in args.names:
        if problem := check(name):
            missed.append(f"{name}: {problem}")
            continue
        if DEVICE == "cpu":
            continue
        memory, spent = measure(name, False, args.steps)
        memory_cp, spent_cp = measure(name, True, args.steps)
        saved = 1 - memory_cp / memory
        if saved < WANTED:
            missed.append(f"{name}: {saved:.1%} saved, wanted {WANTED:.0%}")
        table.add(
            backbone=name,
            images=SUBJECTS[name],
            mib=memory,
            mib_cp=memory_cp,
            saved=saved,
            ms=spent,
            ms_cp=spent_cp,
            times=spent_cp / spent,
        )
        clean()
    families = {f.__name__ for f in MambaBackbone.families() if f.ARCHS}
    measured = {type(mmmamba.create_backbone(name)).__name__ for name in SUBJECTS}
    missed += [
        f"{family} is not in the table of this script" for family in sorted(families - measured)
    ]
    table.show()
    save(args.out, table)
    return verdict(missed, "saved and equal")


if __name__ == "__main__":
    raise SystemExit(main())
