"""AdaRound (Nagel et al., "Up or Down? Adaptive Rounding for Post-Training Quantization", ICML 2020).

1. Fold batch norms; weights on grids per output channel by Lp search.
2. Layer by layer, with float activations: learn the rounding so that the layer and the ReLU after it reproduce the
   output of the float layer (Eq. 25). The input comes from the layers before it, which are already quantized.
3. Quantize activations, which is not part of the paper: by BRECQ's second stage, or only by its search for the steps.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from srquant.classify import brecq
from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.reconstruct import Schedule
from srquant.classify.resnet import ResNet18, folded
from srquant.classify.seed import seeded
from srquant.classify.units import block_units, layer_units
from srquant.distillation.recipes import Progress
from srquant.insertion.policy import LayerBits
from srquant.methods.options import option


@dataclass(frozen=True)
class AdaRound:
    """Options of AdaRound."""

    iterations: int = option(20000, "iterations per layer, for weights", "BRECQ code; paper: 10000")
    rounding_rate: float = option(1e-3, "learning rate of the rounding variables", "AdaRound section 5")
    batch: int = option(32, "images per iteration", "AdaRound section 5")
    activations: Literal["learned", "searched"] = option(
        "learned", "steps of activations: learned as in BRECQ, or only searched", "not in the paper"
    )
    activation_iterations: int = option(5000, "iterations per block, for activations", "BRECQ code")
    step_rate: float = option(4e-4, "learning rate of the activations' steps, cosine to 0", "BRECQ code")
    seed: int = option(1005, "seed of the batches", "BRECQ code")


def quantize(
    network: ResNet18, images: Tensor, bits: LayerBits, config: AdaRound, progress: Progress | None = None
) -> ResNet18:
    """Quantize with learned rounding, layer by layer; arguments and result as for ``brecq.quantize``."""
    teacher = folded(network)
    student = insert_quantizers(teacher, bits.weight, (bits.activation,))
    weights = brecq.BRECQ(config.iterations, rounding_rate=config.rounding_rate, batch=config.batch)
    with seeded(config.seed):
        for unit in layer_units(student):
            unit.switch_on(student, weights=True)
            brecq.learn_weights(unit, teacher, student, images, weights, progress)
        if config.activations == "learned":
            schedule = Schedule(config.activation_iterations, config.batch, step_rate=config.step_rate)
            brecq.learn_activations(teacher, student, images, schedule, progress)
        else:
            initialise_steps(student, images[: brecq.STEP_IMAGES])
            for unit in block_units(student):
                unit.switch_on(student, activations=True)
    return student
