"""The float network of a frozen one's structure, with random weights: for comparisons of size and speed."""

from torch import nn

from srquant.deploy.frozen.freeze import FrozenModel
from srquant.insertion.branched_network import representative
from srquant.models.blocks.conv_geometry import new_layer
from srquant.models.blocks.layers import Add, Matmul
from srquant.models.load import build
from srquant.models.network import CUSTOM, Network, copy_sharing_tensors
from srquant.quantizers.module_spec import AddendsSpec, LayerSpec, ModuleSpec, SumSpec


def float_form(model: FrozenModel) -> Network:
    """A float network of the same structure, on the CPU, in evaluation mode."""
    facts = model.network.facts
    if facts.architecture != CUSTOM:
        return build(facts.architecture, facts.arguments)
    module = copy_sharing_tensors(representative(model.network).module)
    for name, spec in model.specs.items():
        module.set_submodule(name, float_layer(spec))
    return Network(module, facts).eval().requires_grad_(False)


def float_layer(spec: ModuleSpec, device: str = "cpu") -> nn.Module:
    """The float layer that a frozen one replaces, with random weights."""
    if isinstance(spec, SumSpec | AddendsSpec):
        return Add(spec.scale)
    if not isinstance(spec, LayerSpec):
        return Matmul()
    return new_layer(spec.weight.codes.shape, spec.bias is not None, spec.geometry, device)
