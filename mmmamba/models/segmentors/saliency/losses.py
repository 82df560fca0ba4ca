"""How far a predicted saliency map is from where people looked.

(arXiv 2406.17815, section 3.4; the terms are those of Bylinskii et al., arXiv 1604.03605.) Shape
suffixes: B batch, H and W sides.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmmamba.errors import UsageError
from mmmamba.layers import full_precision

EPS = torch.finfo(torch.float64).eps
"""That of the authors' terms."""
PIXELS = (1, 2)


@MODELS.register_module()
class SaliencyLoss(nn.Module):
    """The weighted sum of divergence, correlation, similarity, scanpath saliency and squared error.

    All is computed in float32. What should be large is taken with a minus, so that a loss may be
    below zero. A map without any saliency, and an image without fixations, add nothing to the terms
    that are about them.

    Args:
        kl_weight: of the Kullback-Leibler divergence of the predicted distribution from the true.
        cc_weight: of Pearson's correlation of the two maps.
        sim_weight: of their similarity, the sum of the smaller value at each pixel.
        nss_weight: of the normalised scanpath saliency; 0 for data without fixation maps.
        mse_weight: of the mean squared error.

    Raises:
        UsageError: a weight below 0, or none above.
    """

    def __init__(
        self,
        kl_weight: float = 10.0,
        cc_weight: float = 2.0,
        sim_weight: float = 1.0,
        nss_weight: float = 1.0,
        mse_weight: float = 5.0,
    ):
        super().__init__()
        self.weights = dict(
            kl=kl_weight, cc=cc_weight, sim=sim_weight, nss=nss_weight, mse=mse_weight
        )
        if min(self.weights.values()) < 0 or not any(self.weights.values()):
            raise UsageError(
                f"SaliencyLoss has the weights {self.weights}: wanted numbers from 0 on, not all "
                "0. What should be large is taken with a minus already"
            )

    @property
    def needs_fixations(self) -> bool:
        """Whether there is a term of fixations."""
        return self.weights["nss"] > 0

    def forward(
        self, logits_BHW: Tensor, map_BHW: Tensor, fixation_BHW: Tensor | None = None
    ) -> dict[str, Tensor]:
        """Terms by name, `loss_kl` and so on, each with its weight; those of weight 0 are left out.

        Args:
            logits_BHW: before the sigmoid.
            map_BHW: true saliency, from 0 on.
            fixation_BHW: not 0 where somebody looked.

        Raises:
            UsageError: no fixations, and a term that needs them.
        """
        if fixation_BHW is None and self.needs_fixations:
            raise UsageError(
                "SaliencyLoss has nss_weight above 0 and got no fixation maps: give the data set "
                "data_prefix=dict(fixation_map_path=...), or write "
                "model.loss=dict(nss_weight=0) to train without them"
            )
        with torch.autocast(logits_BHW.device.type, enabled=False):
            predicted_BHW = full_precision(logits_BHW).sigmoid()
            map_BHW = full_precision(map_BHW)
            terms = dict(
                kl=lambda: kl_divergence(predicted_BHW, map_BHW),
                cc=lambda: -correlation(predicted_BHW, map_BHW),
                sim=lambda: -similarity(predicted_BHW, map_BHW),
                nss=lambda: -scanpath_saliency(predicted_BHW, fixation_BHW),
                mse=lambda: F.mse_loss(predicted_BHW, map_BHW),
            )
            return {
                f"loss_{name}": weight * terms[name]().mean()
                for name, weight in self.weights.items()
                if weight
            }


def kl_divergence(predicted_BHW: Tensor, map_BHW: Tensor) -> Tensor:
    """`(B,)`, from 0 on: of the predicted distribution from the true one."""
    p, m = _distribution(predicted_BHW), _distribution(map_BHW)
    return (m * torch.log(EPS + m / (p + EPS))).sum(PIXELS)


def correlation(predicted_BHW: Tensor, map_BHW: Tensor) -> Tensor:
    """`(B,)`, from -1 to 1: Pearson's; 0 for a map that is the same everywhere."""
    p, m = _centred(predicted_BHW), _centred(map_BHW)
    power = (p.square().sum(PIXELS) * m.square().sum(PIXELS)).clamp_min(EPS)
    return (p * m).sum(PIXELS) * power.rsqrt()


def similarity(predicted_BHW: Tensor, map_BHW: Tensor) -> Tensor:
    """`(B,)`, from 0 to 1: what two distributions share, each map scaled to 0 … 1 before."""
    p, m = (_distribution(_from_0_to_1(x)) for x in (predicted_BHW, map_BHW))
    return torch.minimum(p, m).sum(PIXELS)


def scanpath_saliency(predicted_BHW: Tensor, fixation_BHW: Tensor) -> Tensor:
    """`(B,)`: the mean of the standardised map where people looked; 0 where nobody did."""
    seen = (fixation_BHW > 0).to(predicted_BHW.dtype)
    p = _centred(predicted_BHW)
    deviation = (p.square().sum(PIXELS) / (p[0].numel() - 1)).clamp_min(EPS).sqrt()
    return (p * seen).sum(PIXELS) / seen.sum(PIXELS).clamp_min(1) / deviation


def _distribution(x_BHW: Tensor) -> Tensor:
    # A map of zeros stays one.
    return x_BHW / x_BHW.sum(PIXELS, keepdim=True).clamp_min(EPS)


def _centred(x_BHW: Tensor) -> Tensor:
    return x_BHW - x_BHW.mean(PIXELS, keepdim=True)


def _from_0_to_1(x_BHW: Tensor) -> Tensor:
    low, high = x_BHW.amin(PIXELS, keepdim=True), x_BHW.amax(PIXELS, keepdim=True)
    return (x_BHW - low) / (high - low).clamp_min(EPS)
