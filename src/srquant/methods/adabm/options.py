"""Options of AdaBM, and what takes turns in its finetuning."""

from dataclasses import dataclass
from typing import Literal

from srquant.methods.options import option
from srquant.methods.ranges.pipeline import MOMENTUM

Turn = Literal["weights", "activations", "bits"]

ORDERS: dict[str, tuple[Turn, ...]] = {
    "code": ("weights", "activations", "bits"),
    "paper": ("bits", "weights", "activations"),
}


@dataclass(frozen=True)
class AdaBM:
    """Options of ``adabm``."""

    image_to_bit: bool = option(True, "I2B: bits by picture", "Eq. 2")
    layer_to_bit: bool = option(True, "L2B: bits by layer", "Eq. 2")
    mixed: Literal["activations", "both"] = option(
        "activations",
        "whose bits L2B chooses: those of activations, or those of weights too, by the deviation of each weight tensor "
        "(AdaBM* in GBA's tables, which don't say how)",
        "Eq. 2; both is ours",
    )
    bac: bool = option(True, "BaC: bit-aware clipping of activation bounds", "Eq. 5")
    finetune: bool = option(True, "learn bounds, b_L of layers and thresholds of I2B", "paper")
    image_percentile: float = option(
        10.0, "percent of crops below the lower and above the upper threshold of I2B", "paper", most=50
    )
    layer_percentile: float = option(30.0, "percent of layers that start with one bit less, and with one more", "paper")
    fixed: tuple[str, ...] = option(("*.LFF",), "layers that keep the base bits", "AdaBM code, for RDN")
    clamp_bits: bool = option(False, "clamp bits to 2..8; false: bits outside are an error", "ours")
    momentum: float = option(0.9, MOMENTUM + " and of I2B thresholds", "AdaBM code", most=1)
    omse: Literal["paper", "code"] = option(
        "paper",
        "weight bounds of smallest squared error: 1.00 to 0.01 of the largest magnitude, at the layer's own bits; or "
        "1.00 to 0.51 of the largest value, at the base bits",
        "paper, section 4.1",
    )
    bac_range: Literal["paper", "code"] = option(
        "paper",
        "BaC: the best bounds on 16 crops, or half of the way to the best ones on one pair",
        "Eq. 5",
    )
    order: Literal["code", "paper"] = option(
        "code",
        "order of turns: weights, activations, bits; or bits, weights, activations",
        "AdaBM code",
    )
    epochs: int = option(10, "passes over the crops", "paper", least=1)
    batch: int = option(2, "crops per step", "paper", least=1)
    activation_rate: float = option(0.01, "learning rate of activation bounds", "paper")
    weight_rate: float = option(0.01, "learning rate of weight bounds", "paper")
    layer_rate: float = option(0.01, "learning rate of b_L", "paper")
    image_rate: float = option(0.1, "learning rate of I2B thresholds", "paper")
    decay: float = option(0.9, "factor of the learning rates, see decay_schedule", "paper")
    decay_schedule: Literal["code", "paper"] = option(
        "code",
        "when learning rates decay: those of a turn after each of its own passes, or all after every pass",
        "AdaBM code",
    )
    bound_gradient: Literal["code", "paper"] = option(
        "code",
        "gradients of bounds: with the rounding errors of the values between them, or of clipped values alone as in "
        "Eq. 8 and 9",
        "AdaBM code",
    )
    image_gradient: Literal["code", "paper"] = option(
        "code",
        "gradient of I2B thresholds: with the factor 2 / (upper - lower), or without it as in Eq. 7",
        "AdaBM code",
    )
    rates: Literal["absolute", "relative"] = option(
        "absolute", "learning rates of bounds as given, or times each quantizer's range", "paper"
    )
    feature_weight: float = option(10.0, "lambda_skt, weight of the feature loss", "paper")
    bit_weight: float = option(50.0, "lambda_bit, weight of the mean bits above the base", "paper")
