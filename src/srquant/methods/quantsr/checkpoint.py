"""Checkpoints in the layout of the published QuantSR code (``QEDSR_Ours``).

BasicSR's EDSR. Each convolution of a residual block has ``body.{i}.conv{1,2}.alpha`` (of the weight),
``.channel_threshold`` (``tau``), ``.ActOurs.alpha`` (of the input) and ``.ActOurs.signed`` (whether the input's codes
are signed); each block has ``body.{i}.learnable_shortcut``. Bits aren't stored.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from srquant.errors import CheckpointError
from srquant.insertion.policy import LayerBits, Override, Policy
from srquant.methods.quantsr.dqa import skippable_blocks
from srquant.methods.quantsr.method import QuantSR, QuantSRStudent, prepare
from srquant.methods.quantsr.rlq_layers import RLQLayer
from srquant.models.architectures.edsr import EDSR, facts, from_basicsr, infer
from srquant.models.checkpoint import read_weights
from srquant.models.checkpoint_file.allocations import Allocations
from srquant.models.layout import Weights
from srquant.models.load import load_strictly
from srquant.models.network import Network

LEARNED = re.compile(
    r"body\.\d+\.(conv[12]\.(ActOurs\.)?(alpha|init_state|channel_threshold|signed)|learnable_shortcut)"
)
MARK = "body.0.conv1.channel_threshold"


def load_published(
    path: Path, bits: LayerBits, crops: Sequence[Tensor], config: QuantSR | None = None
) -> QuantSRStudent:
    """Read a published checkpoint as a student: ``result()`` is the quantized network, and training may continue.

    Args:
        path: PyTorch or safetensors file; no code in it is run.
        bits: with which it was trained; head, tail and the convolution after the blocks stay float.
        crops: batches ``N x 3 x H x W`` in [0, 1], which decide the order in which blocks are left out.
        config: options; None for the defaults.

    Raises:
        CheckpointError: unreadable, or in another layout.
    """
    weights = read_weights(path)
    if MARK not in weights:
        raise CheckpointError(
            f"{path}: has no {MARK}, so it is not a published QuantSR checkpoint; open it as a float one"
        )
    learned = {name: tensor for name, tensor in weights.items() if LEARNED.fullmatch(name)}
    try:
        network = _float(from_basicsr({n: t for n, t in weights.items() if n not in learned}, None))
        policy = Policy(bits, None, None, overrides=(Override(f"body.{len(network.facts.blocks)}", None),))
        student = prepare(network, crops, policy, QuantSR() if config is None else config, steps=1)
        _restore(student, learned)
    except (ValueError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{path}: has QuantSR's names, but can't be loaded as QuantSR: {error}") from error
    return student


def _float(weights: Weights) -> Network:
    arguments = infer(weights)
    with Allocations(weights):
        network = Network(EDSR(**arguments), facts(**arguments))  # type: ignore[arg-type]
    load_strictly(network.module, weights)
    return network


@torch.no_grad()
def _restore(student: QuantSRStudent, learned: Weights) -> None:
    for name, block in skippable_blocks(student.network).items():
        assert block.shortcut is not None
        block.shortcut.copy_(learned[f"{name}.learnable_shortcut"].reshape(()))
        for conv, place in (("conv1", "body.0"), ("conv2", "body.2")):
            layer = block.block.get_submodule(place)
            assert isinstance(layer, RLQLayer)
            _restore_layer(layer, f"{name}.{conv}", learned)


def _restore_layer(layer: RLQLayer, name: str, learned: Weights) -> None:
    weight, activation = layer.weight_quantizer, layer.input_quantizer
    assert activation.tau is not None
    activation.set_signed(bool(learned[f"{name}.ActOurs.signed"]))
    weight.set_alpha(learned[f"{name}.alpha"].reshape(()))
    activation.set_alpha(learned[f"{name}.ActOurs.alpha"].reshape(()))
    activation.tau.copy_(learned[f"{name}.channel_threshold"].reshape(activation.tau.shape))
