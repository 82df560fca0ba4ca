"""What fact sheets say of the ImageNet recipes, as data."""

from typing import NamedTuple


class Numbers(NamedTuple):
    """What a fact sheet says of a recipe."""

    lr: float = 1e-3
    decay: float = 0.05
    batch: int = 1024
    warmup: int = 20
    start: float = 1e-6
    """The rate of the first iteration."""
    end: float = 1e-5
    """The rate of the last one."""
    clip: float | None = 5.0
    average: float | None = 0.9999
    """How much of the average stays from step to step."""
    drop_path: float = 0.2
    epochs: int = 300
    precision: str = "float16"
    mesa: float | None = None
    """The weight of what the average teaches from a quarter of the training on."""
    cooldown: int = 0
    """How many of the epochs are at the last rate."""


SWIN = Numbers()
LOCAL = Numbers(decay=0.04, start=1e-7, end=1e-6)
LOCALVIM = LOCAL._replace(clip=None, drop_path=0.1, precision="float32")
EFFICIENT = Numbers(lr=2e-3, decay=0.04, batch=2048, start=1e-7, end=1e-6, clip=1.0, drop_path=0.1)
VIM_T = Numbers(decay=0.1, warmup=5, clip=None, average=0.99996, drop_path=0.0, precision="float32")
VIM_S = VIM_T._replace(decay=0.05, batch=512, drop_path=0.05)
STRIDE_8 = VIM_T._replace(lr=1e-5, decay=1e-8, warmup=0, epochs=30)
LAMB = Numbers(lr=5e-3, batch=4096, start=5e-6, average=0.9998, epochs=310, mesa=0.5)
MOBILE = Numbers(lr=3e-3, start=3e-6, end=3e-5, average=0.9998, drop_path=0.0)
MOBILE_B = MOBILE._replace(drop_path=0.03)
PLAIN = Numbers(lr=2e-3, batch=2048, warmup=20, start=2e-6, end=2e-5, clip=1.0, precision="float32")
LOW = Numbers(lr=6e-4, end=6e-6)
HALF = Numbers(lr=5e-4, batch=512, start=5e-7, end=5e-6, average=0.99995)
REGISTERS = Numbers(warmup=5, clip=None, average=None, drop_path=0.1, precision="bfloat16")
MIDDLE = REGISTERS._replace(lr=4e-4, drop_path=0.4, epochs=100)
TUNED = REGISTERS._replace(lr=1e-5, decay=0.1, batch=512, drop_path=0.4, epochs=20)
SIMBA = Numbers(lr=2e-3, warmup=5, clip=None, average=None, drop_path=0.1, epochs=320, cooldown=10)
HERACLES = SIMBA._replace(lr=1e-3)

RECIPES = {
    "vmamba_t_300e": SWIN,
    "vmamba_t_s2l5_300e": SWIN,
    "vmamba_s_300e": SWIN._replace(drop_path=0.3),
    "vmamba_s_s1l20_300e": SWIN._replace(drop_path=0.3),
    "vmamba_b_300e": SWIN._replace(drop_path=0.6),
    "vmamba_b_s1l20_300e": SWIN._replace(drop_path=0.5),
    "vmamba_v0_t_300e": SWIN._replace(average=None),
    "vmamba_v0_s_300e": SWIN._replace(drop_path=0.3),
    "vmamba_v0_b_300e": SWIN._replace(drop_path=0.6),
    "mambavision_t_310e": LAMB,
    "mambavision_t2_310e": LAMB,
    "mambavision_s_310e": LAMB,
    "mambavision_b_310e": LAMB._replace(decay=0.075, warmup=35, drop_path=0.3),
    "mambavision_l_310e": LAMB._replace(decay=0.12, drop_path=0.3),
    "mambavision_l2_310e": LAMB._replace(decay=0.12, drop_path=0.3),
    "localvmamba_t_300e": LOCAL,
    "localvmamba_s_300e": LOCAL,
    "localvim_t_300e": LOCALVIM,
    "localvim_t_midcls_300e": LOCALVIM,
    "localvim_t_wo_search_300e": LOCALVIM,
    "localvim_s_300e": LOCALVIM,
    "localvim_s_wo_search_300e": LOCALVIM,
    "vim_t_300e": VIM_T,
    "vim_s_300e": VIM_S,
    "vim_b_300e": VIM_S,
    "vim_t_stride8_30e": STRIDE_8,
    "vim_s_stride8_30e": STRIDE_8,
    "efficientvmamba_t_300e": EFFICIENT,
    "efficientvmamba_s_300e": EFFICIENT,
    "efficientvmamba_b_300e": EFFICIENT._replace(batch=1024),
    "groupmamba_t_300e": SWIN._replace(drop_path=0.05),
    "groupmamba_t_300e-distilled": SWIN._replace(drop_path=0.05),
    "groupmamba_s_300e-distilled": SWIN._replace(drop_path=0.05),
    "groupmamba_b_300e-distilled": SWIN._replace(drop_path=0.05),
    "mlla_t_300e": SWIN._replace(mesa=1.0),
    "mlla_s_300e": HALF._replace(drop_path=0.3, mesa=1.5),
    "mlla_b_300e": HALF._replace(drop_path=0.5, mesa=2.0),
    "msvmamba_n_300e": SWIN,
    "msvmamba_m_300e": SWIN,
    "msvmamba_t_300e": SWIN,
    "msvmamba_v3_t_300e": SWIN,
    "msvmamba_v3_s_300e": SWIN._replace(drop_path=0.4),
    "msvmamba_v3_b_300e": LOW._replace(drop_path=0.5),
    "mambar_t_300e": REGISTERS,
    "mambar_s_300e": REGISTERS,
    "mambar_s_100e": MIDDLE,
    "mambar_s_20e": TUNED,
    "mambar_b_300e": REGISTERS,
    "mambar_b_100e": MIDDLE,
    "mambar_b_20e": TUNED,
    "mambar_l_300e": REGISTERS,
    "mambar_l_100e": MIDDLE,
    "mambar_l_20e": TUNED,
    "mobilemamba_t2_300e": MOBILE,
    "mobilemamba_t2_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_t4_300e": MOBILE,
    "mobilemamba_t4_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_s6_300e": MOBILE,
    "mobilemamba_s6_1000e-distilled": MOBILE._replace(epochs=1000),
    "mobilemamba_b1_300e": MOBILE_B,
    "mobilemamba_b1_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "mobilemamba_b2_300e": MOBILE_B,
    "mobilemamba_b2_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "mobilemamba_b4_300e": MOBILE_B,
    "mobilemamba_b4_1000e-distilled": MOBILE_B._replace(epochs=1000),
    "plainmamba_l1_300e": PLAIN._replace(warmup=15, clip=5.0, average=None, precision="float16"),
    "plainmamba_l2_300e": PLAIN,
    "plainmamba_l3_300e": PLAIN._replace(lr=1e-3, batch=1024, start=1e-6, end=1e-5, drop_path=0.4),
    "spatialmamba_t_300e": SWIN._replace(mesa=1.0),
    "spatialmamba_s_300e": SWIN._replace(drop_path=0.3, mesa=1.5),
    "spatialmamba_b_300e": SWIN._replace(drop_path=0.5, mesa=2.0),
    "vssd_m_300e": SWIN,
    "vssd_t_300e": SWIN,
    "vssd_s_300e": LOW._replace(drop_path=0.4),
    "vssd_b_300e": LOW._replace(drop_path=0.6),
    "vssd_t_300e-mesa": SWIN._replace(mesa=1.0),
    "vssd_s_300e-mesa": LOW._replace(drop_path=0.4, mesa=1.5),
    "vssd_b_300e-mesa": LOW._replace(drop_path=0.6, mesa=2.0),
    "vim_f_t_300e": VIM_T,
    "vim_f_s_300e": VIM_S,
    "vim_f_v1_t_300e": VIM_T,
    "vim_f_v1_s_300e": VIM_S,
    "simba_s_310e": SIMBA,
    "simba_b_310e": SIMBA,
    "simba_s_einfft_310e": SIMBA,
    "simba_b_einfft_310e": SIMBA,
    "simba_l_einfft_310e": SIMBA._replace(clip=1.0, drop_path=0.3),
    "heracles_s_310e": HERACLES,
    "heracles_b_310e": HERACLES,
    "heracles_l_310e": HERACLES._replace(clip=1.0, drop_path=0.3),
}
