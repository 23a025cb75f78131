"""AdaBM: on-the-fly adaptive bit mapping (Hong and Lee, CVPR 2024).

Activations have ``b_base + b_I + b_L`` bits: ``b_I`` in -1, 0, 1 by picture (I2B), ``b_L`` in -1, 0, 1 by layer (L2B).

Initialization phase:
1. The float network runs on batches of 16 crops: min-max of each activation, moving average 0.9. Weights: OMSE.
2. I2B: the 10 % and 90 % quantiles of the crops' gradient densities become the thresholds of ``b_I``.
3. L2B: the 30 % and 70 % quantiles of the layers' sensitivities, the deviations of their inputs, choose ``b_L``.
4. BaC: activation bounds shrink to the smallest squared error at ``b_base + b_L`` bits.

Finetuning phase: 10 passes over pairs of crops, in turn for weight bounds, activation bounds, ``b_L`` and I2B
thresholds. Loss: ``L_pix + 10 * L_skt``, in the third turn ``+ 50 * L_bit``.

Weights have ``b_base`` bits everywhere; in AdaBM* of GBA's tables (``mixed=both``) ``b_base + b_L``, see
``adaptive_weights``.

When the network runs, ``b_I`` is found for each picture by one gradient filter; ``b_L`` is fixed.
BaC and OMSE follow the paper (``bac_range``, ``omse``). The order of turns, the decay of their rates and the gradients
are the released code's; ``order``, ``decay_schedule``, ``image_gradient`` and ``bound_gradient`` select the paper's.

Names in the paper and here::

    I2B, l_i2b, u_i2b (Eq. 3)   image_to_bit.ImageToBit, its lower and upper
    c(I_LR)                     grids.picture_density.gradient_density
    L2B, b_L (Eq. 4)            layer_to_bit.LayerToBit, first_layer_bits
    s_k (sensitivity)           layer_to_bit.layer_sensitivities
    p_I, p_L                    options.AdaBM, its image_percentile, layer_percentile
    BaC, epsilon (Eq. 5)        bit_aware_clipping.apply_bac, bac_bounds
    OMSE                        initialise.omse_rule
    Eq. 7                       image_to_bit.ImageToBit, its scaled
    Eq. 8, 9                    clipping_gradients.clipping_gradients
    L_pix, L_skt (Eq. 10)       output_loss, feature_distance
    L_bit, b_tar (Eq. 11)       finetune.bit_loss, its target_bits
"""

from srquant.data.calibration import CalibrationSet
from srquant.distillation.recipes import LearnedGroup, Progress
from srquant.errors import PolicyError
from srquant.grids.uniform import FEWEST_BITS, MOST_BITS
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.insertion.settle_on_lattice import settle
from srquant.methods.adabm.adaptive_bits import AdaptiveNetwork, adaptive_quantizers
from srquant.methods.adabm.branches import branch_of, settle_branches
from srquant.methods.adabm.finetune import finetune
from srquant.methods.adabm.initialise import clip, initialise
from srquant.methods.adabm.options import AdaBM
from srquant.methods.ranges.pipeline import origin_of
from srquant.models.network import Network
from srquant.quantizers.layers import quant_layers


def quantize(
    network: Network,
    calibration: CalibrationSet,
    policy: Policy,
    config: AdaBM,
    progress: Progress | None = None,
) -> QuantizedModel:
    """Algorithm 1: quantize with bits by picture and layer; arguments as ``srquant.methods.Quantize``.

    Returns:
        With a ``BranchedNetwork``, unless ``image_to_bit`` is off.
    """
    check(policy, config)
    plan = resolve(network, policy)
    student = initialise(network, calibration, plan, config)
    if config.bac:
        clip(student, calibration, config)
    if config.finetune:
        finetune(student, network, calibration, policy.base.activation, config, progress)
    student.requires_grad_(False)
    origin = origin_of("adabm", config, calibration)
    return QuantizedModel(settled(student), plan.with_bits(layer_bits(student)).policy, origin)


def check(policy: Policy, config: AdaBM) -> None:
    """Raise a ``PolicyError`` where bits could leave 2..8, or activation grids are not per tensor."""
    check_bits("activations", policy.base.activation, config.image_to_bit + config.layer_to_bit, config)
    if config.mixed == "both":
        if not config.layer_to_bit:
            raise PolicyError("adabm mixes the bits of weights by layer: --set layer_to_bit=true, or mixed=activations")
        check_bits("weights", policy.base.weight, 1, config)
    if policy.activation_granularity != "tensor":
        raise PolicyError("adabm needs one activation grid per tensor: leave activation_granularity at 'tensor'")


def check_bits(group: LearnedGroup, base: int, farthest: int, config: AdaBM) -> None:
    """Raise a ``PolicyError`` where bits of the group, which are up to ``farthest`` from ``base``, could leave 2..8."""
    if not config.clamp_bits and not FEWEST_BITS <= base - farthest <= base + farthest <= MOST_BITS:
        raise PolicyError(
            f"adabm would use {base - farthest} to {base + farthest} bits at {base}-bit {group}, only "
            f"{FEWEST_BITS} to {MOST_BITS} exist: choose {FEWEST_BITS + farthest} to {MOST_BITS - farthest} bits, or "
            "--set clamp_bits=true"
        )


def settled(student: Network) -> Network:
    """The result, settled on the lattice: three branches, or a plain network without I2B."""
    if isinstance(student, AdaptiveNetwork):
        return settle_branches(student)
    plain = branch_of(student, 0)
    settle(plain)
    return plain


def layer_bits(student: Network) -> dict[str, LayerBits]:
    """Bits of adaptive layers for pictures of middle density."""
    weights = {name: layer.weight_quantizer.deployable(layer.weight) for name, layer in quant_layers(student).items()}
    activations = {name: quantizer.deployable() for name, quantizer in adaptive_quantizers(student).items()}
    return {name: LayerBits(weights[name].bits, quantizer.bits) for name, quantizer in activations.items()}
