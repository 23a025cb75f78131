"""QDrop (Wei et al., "QDrop: Randomly Dropping Quantization for Extremely Low-bit PTQ", ICLR 2022).

1. Fold batch norms; search the weight grids, one per output channel, and the steps of activations.
2. Unit by unit, learn rounding and steps together. Each element of the unit's input and of every activation inside is
   quantized with probability 1/2, else float; the target is the output of the float unit for float input.
3. In the result everything is quantized.
"""

from dataclasses import dataclass
from functools import partial

from torch import Tensor

from srquant.classify.brecq import STEP_IMAGES
from srquant.classify.insert import initialise_steps, insert_quantizers
from srquant.classify.layers import QuantReLU, mix
from srquant.classify.reconstruct import Learner, Schedule, lp_loss, reconstruct, unit_error
from srquant.classify.resnet import ResNet18, folded
from srquant.classify.seed import seeded
from srquant.classify.units import Unit, block_units, examples_of
from srquant.distillation.recipes import Progress, counter
from srquant.insertion.policy import LayerBits
from srquant.methods.options import option


@dataclass(frozen=True)
class QDrop:
    """Options of QDrop."""

    iterations: int = option(20000, "iterations per unit", "QDrop section 4")
    drop_prob: float = option(0.5, "probability that an element is quantized while learning", "QDrop code")
    rounding_rate: float = option(1e-3, "learning rate of the rounding variables", "QDrop code")
    step_rate: float = option(4e-5, "learning rate of the activations' steps, cosine to 0", "QDrop code")
    batch: int = option(32, "images per iteration", "QDrop section 4")
    seed: int = option(1005, "seed of batches and dropping", "QDrop code")


def quantize(
    network: ResNet18, images: Tensor, bits: LayerBits, config: QDrop, progress: Progress | None = None
) -> ResNet18:
    """Quantize with randomly dropped quantization; arguments and result as for ``brecq.quantize``."""
    teacher = folded(network)
    student = insert_quantizers(teacher, bits.weight, (bits.activation,))
    initialise_steps(student, images[:STEP_IMAGES])
    with seeded(config.seed):
        for unit in block_units(student):
            unit.switch_on(student, weights=True, activations=True)
            learn(unit, teacher, student, images, config, progress)
    return student


def learn(
    unit: Unit, teacher: ResNet18, student: ResNet18, images: Tensor, config: QDrop, progress: Progress | None
) -> None:
    """Learn rounding and steps of one unit."""
    examples = examples_of(unit, teacher, student, images)
    run = unit.run(student)

    def loss(chosen: Tensor) -> Tensor:
        set_quantize_probability(unit, student, config.drop_prob)
        output = run(mix(examples.quantized_input[chosen], examples.float_input[chosen], config.drop_prob))
        set_quantize_probability(unit, student, 1.0)
        return lp_loss(output, examples.target[chosen])

    schedule = Schedule(config.iterations, config.batch, config.rounding_rate, config.step_rate)
    learner = Learner(unit.roundings(student), unit.quantizers(student))
    error = partial(unit_error, run, examples.quantized_input, examples.target)
    report = counter(progress, unit.names[0], config.iterations)
    reconstruct(learner, len(images), schedule, loss, error, report)


def set_quantize_probability(unit: Unit, student: ResNet18, probability: float) -> None:
    """Quantize each element of the unit's activations with this probability from now on."""
    for module in unit.modules(student):
        if isinstance(module, QuantReLU):
            module.quantize_probability = probability
