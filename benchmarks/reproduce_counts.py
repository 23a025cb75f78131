"""What the papers print of networks without a run: parameters, operations, sizes; and bicubic upscaling."""

from functools import cache, partial

from ptq_run import shared

from srquant.data.benchmark import BenchmarkSet
from srquant.data.resize import upscale
from srquant.insertion.plan import resolve
from srquant.insertion.policy import LayerBits, LayerKind, Override, Policy
from srquant.measure.cost.compression import Compression, compression
from srquant.measure.cost.formulas import LayerCost, count_macs, matrix_products, weighted_layers
from srquant.measure.quality.scores import evaluate
from srquant.methods.default_layer_kinds import default_layer_kinds
from srquant.methods.trained_registry import TRAINED
from srquant.models.blocks.layers import MatrixProduct
from srquant.models.load import build
from srquant.models.network import Network

FLOAT_BITS = 32
SIDE = {"edsr": 64, "swinir": 56}
"""Of the picture that is counted: 64 x 64 values in every layer, as SwinIR mirrors 8 more."""

K, G, SHARE = "K parameters", "G operations", "% of operations"
COMPRESSION, SPEED = "parameters, times fewer", "operations, times fewer"
SIZE, BIT_OPS = "K of 32 bit", "T bit operations"

QUANTSR_AREA, TWO_D_QUANT_AREA = 256**2, 128**2
"""Low-resolution pixels that explain the operations that QuantSR and 2DQuant print; neither names them."""

URBAN_AREA = 49_500
"""Low-resolution pixels of a mean Urban100 picture x4."""

BIAS_TABLE = "relative_position_bias_table"

Bits = tuple[int, int]


@cache
def edsr(blocks: int, scale: int) -> Network:
    """EDSR with 64 features and random weights."""
    return build("edsr", {"blocks": blocks, "features": 64, "scale": scale})


@cache
def swinir(stages: int, scale: int) -> Network:
    """SwinIR-light with random weights; the published one has 4 stages of 6 blocks."""
    return build("swinir", {"depths": [6] * stages, "scale": scale})


@cache
def macs_of(network: Network) -> dict[str, int]:
    """Multiply-accumulates by layer, with 64 x 64 values in every layer."""
    side = SIDE[network.facts.architecture]
    return count_macs(network, [*weighted_layers(network), *matrix_products(network)], side, side)


def costs(network: Network, bits: dict[str, Bits], area: int) -> list[LayerCost]:
    """All layers for a picture of ``area`` pixels; those that ``bits`` doesn't name are float."""
    modules = dict(network.module.named_modules())
    found = []
    for name, count in macs_of(network).items():
        weights = modules[name].weight.numel() if hasattr(modules[name], "weight") else 0
        found.append(LayerCost(name, count * area // 64**2, weights, *bits.get(name, (FLOAT_BITS, FLOAT_BITS))))
    return found


def bits_of(network: Network, policy: Policy) -> dict[str, Bits]:
    """Bits of weights and activations of the layers that a policy quantizes."""
    return {name: (bits.weight, bits.activation) for name, bits in resolve(network, policy).layers.items()}


def quantsr(network: Network, of: Network, bits: int) -> dict[str, float]:
    """QuantSR's Table 2: operations and weights, each layer's times b/32, for a picture of 256 x 256."""
    kinds: tuple[LayerKind, ...] = default_layer_kinds(TRAINED["quantsr"], network)
    chosen = {} if bits == FLOAT_BITS else bits_of(network, Policy(LayerBits(bits, bits), None, None, kinds=kinds))
    small: Compression = compression(costs(network, chosen, QUANTSR_AREA), costs(of, {}, QUANTSR_AREA))
    saved = {f"{K}, % fewer": 100 * small.weights_saved, f"{G}, % fewer": 100 * small.operations_saved}
    return {K: small.weights / 1e3, G: small.operations / 1e9} | ({} if bits == FLOAT_BITS else saved)


def two_d_quant_operations(products: bool) -> dict[str, float]:
    """2DQuant's Table 2: linear layers and products of activations, or convolutions, for a picture of 128 x 128."""
    network = swinir(4, 4)
    modules = dict(network.module.named_modules())
    macs = {name: count * TWO_D_QUANT_AREA // 64**2 for name, count in macs_of(network).items()}
    own = sum(count for name, count in macs.items() if _is_linear(modules[name]) == products)
    return {G: own / 1e9, SHARE: 100 * own / sum(macs.values())}


def _is_linear(module: object) -> bool:
    return isinstance(module, MatrixProduct) or type(module).__name__ == "Linear"


def two_d_quant_ratios(bits: int) -> dict[str, float]:
    """2DQuant's headline: SwinIR-light's parameters and operations, over those where linear layers count b/32.

    The printed ratios of parameters follow without the tables of position biases.
    """
    network, left = swinir(4, 4), bits / FLOAT_BITS
    modules = dict(network.module.named_modules())
    macs = macs_of(network)
    parameters = sum(p.numel() for name, p in network.module.named_parameters() if BIAS_TABLE not in name)
    linear = sum(modules[name].weight.numel() for name in macs if type(modules[name]).__name__ == "Linear")
    quantized = sum(count for name, count in macs.items() if _is_linear(modules[name]))
    total = sum(macs.values())
    return {
        COMPRESSION: parameters / (parameters - (1 - left) * linear),
        SPEED: total / (total - (1 - left) * quantized),
    }


def adabm(weight_bits: int, activation_bits: int, *, fully: bool) -> dict[str, float]:
    """AdaBM's Table 5 for EDSR x4: parameters of 32 bit, and bit operations for a mean Urban100 picture.

    Weights of ``b`` bits count ``b/32``; everything else, the quantizers' scalars included, counts 1.

    Args:
        weight_bits: of the body.
        activation_bits: of the body, on average.
        fully: head and tail have 8 bits, and the last convolution of the body is quantized too; else these are float.
    """
    network, base = edsr(16, 4), LayerBits(weight_bits, activation_bits)
    last = Override(network.facts.behind_blocks or "", None)
    policy = Policy(base) if fully else Policy(base, None, None, overrides=(last,))
    bits = bits_of(network, policy)
    counted = costs(network, bits, URBAN_AREA)
    saved = sum(c.weight_count * (1 - c.weight_bits / FLOAT_BITS) for c in counted)
    body = [name for name in bits if name.startswith("body.")]
    scalars = 3 * len(bits) + len(body) + 2
    return {SIZE: (_float_size() - saved + scalars) / 1e3, BIT_OPS: bit_operations(counted)}


def adabm_float() -> dict[str, float]:
    """The same of the float network; the paper prints 527.0 T, which must be for a larger picture."""
    return {SIZE: _float_size() / 1e3, BIT_OPS: bit_operations(costs(edsr(16, 4), {}, URBAN_AREA))}


def _float_size() -> int:
    """Parameters, the constants of the two mean shifts included."""
    module = edsr(16, 4).module
    return sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))


def bit_operations(counted: list[LayerCost]) -> float:
    """Two operations per multiply-accumulate, each times both widths; in T."""
    return sum(2 * c.macs * c.weight_bits * c.activation_bits for c in counted) / 1e12


@cache
def bicubic(scale: int) -> dict[str, float]:
    """PSNR on Set5 without any network."""
    benchmark = BenchmarkSet(shared() / "data" / "Set5", scale)
    return {"Set5": evaluate(partial(upscale, scale=scale), benchmark, "bicubic").psnr_y}
