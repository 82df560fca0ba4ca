"""What the authors publish of their classifiers' sizes, as they print it, from the fact sheets."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """Strings keep the digits that were printed."""

    parameters: str
    """In millions."""
    gflops: str | None
    size: int = 224
    """Side of the images that the results and FLOPs are for."""
    top1: float | None = None
    """Where no weights are published that could say it."""


SIZES: dict[str, Size] = {
    "vmamba_t": Size("30.249", "4.906"),
    "vmamba_t_s2l5": Size("30.706", "4.858"),
    "vmamba_s": Size("50.148", "8.716"),
    "vmamba_s_s1l20": Size("49.013", "8.612"),
    "vmamba_b": Size("88.558", "15.359"),
    "vmamba_b_s1l20": Size("86.615", "15.221"),
    "vmamba_v0_t": Size("22.893", "5.627"),
    "vmamba_v0_s": Size("44.417", "11.232"),
    "vmamba_v0_b": Size("76.254", "18.020"),
    "mambavision_t": Size("31.8", "4.4"),
    "mambavision_t2": Size("35.1", "5.1"),
    "mambavision_s": Size("50.1", "7.5"),
    "mambavision_b": Size("97.7", "15.0"),
    "mambavision_b_21k": Size("97.7", "15.0"),
    "mambavision_l": Size("227.9", "34.9"),
    "mambavision_l_21k": Size("227.9", "34.9"),
    "mambavision_l2": Size("241.5", "37.5"),
    "mambavision_l2_512_21k": Size("241.5", "196.3", 512),
    "mambavision_l3_256_21k": Size("739.6", "122.3", 256),
    "mambavision_l3_512_21k": Size("739.6", "489.1", 512),
    "localvmamba_t": Size("26", "5.7", top1=82.7),
    "localvmamba_s": Size("50", "11.4"),
    "localvim_t": Size("8", "1.5"),
    "localvim_t_midcls": Size("8", "1.5"),
    "localvim_t_wo_search": Size("8", "1.5", top1=75.8),
    "localvim_s": Size("28", "4.8", top1=81.1),
    "localvim_s_wo_search": Size("28", "4.8", top1=81.0),
    "vim_t": Size("7", None),
    "vim_t_stride8": Size("7", None),
    "vim_s": Size("26", None),
    "vim_s_stride8": Size("26", None),
    "vim_b": Size("98", None),
    "efficientvmamba_t": Size("6", "0.8"),
    "efficientvmamba_s": Size("11", "1.3"),
    "efficientvmamba_b": Size("33", "4.0"),
    "mobilemamba_t2": Size("8.8", "0.255", 192),
    "mobilemamba_t4": Size("14.2", "0.413", 192),
    "mobilemamba_s6": Size("15.0", "0.652"),
    "mobilemamba_b1": Size("17.1", "1.080", 256),
    "mobilemamba_b2": Size("17.1", "2.427", 384),
    "mobilemamba_b4": Size("17.1", "4.313", 512),
}


def agrees(counted: float, printed: str) -> bool:
    """Within 1 %, or within what printing so few digits leaves open."""
    digits = len(printed.partition(".")[2])
    return abs(counted - float(printed)) <= max(0.01 * float(printed), 0.5 * 10**-digits)
