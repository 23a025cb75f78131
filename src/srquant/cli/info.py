"""``srquant info``: layers, bits, size and operations of a model file."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from srquant.cli.exported_model import show_info
from srquant.cli.options import DEFAULT_INPUT, AnyModel, Depth, InputSize, Json, Scale, input_size
from srquant.cli.output import bits_text, check_json, show, table, write_json

if TYPE_CHECKING:
    from rich.table import Table

    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.insertion.branched_network import BranchedNetwork
    from srquant.measure.cost.depth_costs import DepthCost
    from srquant.measure.cost.formulas import LayerCost
    from srquant.measure.cost.layer_summaries import LayerSummary
    from srquant.models.network import Network


def info(
    model: AnyModel, scale: Scale = None, depth: Depth = None, size: InputSize = DEFAULT_INPUT, json: Json = None
) -> None:
    """Show the layers, bits, size and operations of a model."""
    height, width = input_size(size)
    check_json(json)

    from srquant.models.checkpoint import is_exported

    if is_exported(model):
        show_info(model, scale, depth, json)
    else:
        show_network(model, scale, depth, (height, width), json)


def show_network(model: Path, scale: int | None, depth: int | None, size: tuple[int, int], json: str | None) -> None:
    """What ``srquant info`` shows of a checkpoint or a quantized file."""
    from srquant.deploy.file.open_model import open_model
    from srquant.deploy.float_form import float_form
    from srquant.deploy.frozen.freeze import FrozenModel
    from srquant.insertion.branched_network import BranchedNetwork
    from srquant.measure.cost.compression import compression
    from srquant.measure.cost.depth_costs import depth_costs
    from srquant.measure.cost.layer_costs import layer_costs
    from srquant.measure.cost.layer_summaries import layer_summaries
    from srquant.models.load import describe
    from srquant.models.packaged import find_model
    from srquant.upscale.tiles.tiling import measure_tiling

    model = find_model(model)
    opened = open_model(model, scale, depth)
    network = opened.network if isinstance(opened, FrozenModel) else opened
    original = float_form(opened) if isinstance(opened, FrozenModel) else network
    layers, costs = layer_summaries(network), layer_costs(network, *size)
    by_branch = bits_by_branch(network)
    tiling = measure_tiling(network)
    depths = list(depth_costs(opened, *size)) if isinstance(opened, FrozenModel) else []
    show(
        layer_table(layers, costs, by_branch),
        describe(original),
        made_by(opened) if isinstance(opened, FrozenModel) else "float, not quantized",
        f"{model.stat().st_size:,} bytes",
        operations(costs, f"{size[0]}x{size[1]}"),
        tiling.describe(),
        *([str(compression(costs))] if isinstance(opened, FrozenModel) else []),
        *([network.describe()] if isinstance(network, BranchedNetwork) else []),
        *map(depth_line, depths),
        json_to=json,
    )
    values = to_json(original, model, layers) | depths_to_json(depths)
    values |= {"tile_overlap": tiling.overlap, "tiles_exact": tiling.exact}
    write_json(values | branches_to_json(network, by_branch) if isinstance(network, BranchedNetwork) else values, json)


def bits_by_branch(network: "Network") -> dict[str, list[int]]:
    """Activation bits of each layer for pictures of low, middle and high density; empty where they are the same."""
    from srquant.insertion.branched_network import branches_of
    from srquant.measure.cost.layer_summaries import layer_summaries

    branches = [layer_summaries(branch) for branch in branches_of(network)]
    bits = {layers[0].name: [layer.activation_bits for layer in layers] for layers in zip(*branches, strict=True)}
    return {name: widths for name, widths in bits.items() if len(set(widths)) > 1}


def branches_to_json(network: "BranchedNetwork", by_branch: dict[str, list[int]]) -> dict[str, object]:
    """The additional JSON values of a network whose bits depend on the picture."""
    return {"thresholds": network.thresholds.tolist(), "branch_bits": by_branch}


def layer_table(layers: "list[LayerSummary]", costs: "list[LayerCost]", by_branch: dict[str, list[int]]) -> "Table":
    """One row per layer; bits that depend on the picture are written ``3-5``."""
    macs = {cost.name: f"{cost.macs / 1e6:,.1f}" for cost in costs}
    rows = table("layer", "kind", "weight bits", "activation bits", "levels used", "MMAC")
    for layer in layers:
        used = "-" if layer.levels_used is None else str(layer.levels_used)
        bits = [bits_text(b) for b in (layer.weight_bits, layer.activation_bits)]
        if len(layer.choices) > 1:
            bits[1] = "/".join(map(str, layer.choices))
        if layer.name in by_branch:
            bits[1] = f"{min(by_branch[layer.name])}-{max(by_branch[layer.name])}"
        bits[1] += " dynamic" if layer.ranges == "dynamic" else ""
        bits[1] += "" if layer.piecewise_codes is None else f" ({layer.piecewise_codes} piecewise)"
        rows.add_row(layer.name, layer.kind, *bits, used, macs.get(layer.name, "-"))
    return rows


def depth_line(cost: "DepthCost") -> str:
    """One line: operations and size of the network at one depth, and both counted as QuantSR does."""
    blocks = ", ".join(cost.blocks)
    size = f"{cost.size_bytes:,} bytes as a separate file"
    return f"depth {cost.depth}: {cost.bit_ops / 1e12:.3f} T bit operations, {size} ({blocks}); {cost.compression}"


def depths_to_json(costs: "list[DepthCost]") -> dict[str, object]:
    """The additional JSON values of a network of several depths; empty for others."""
    return {"depths": [asdict(cost) for cost in costs]} if costs else {}


def made_by(model: "FrozenModel") -> str:
    """One line: how the network was quantized."""
    origin = model.origin
    options = ", ".join(f"{name} {value}" for name, value in origin.options.items())
    threads = f", {origin.threads} thread{'s' if origin.threads > 1 else ''}" if origin.threads else ""
    method = f"{origin.method}{f' ({options})' if options else ''}"
    return f"quantized by {method}, calibration {origin.calibration[:12]}{threads}"


def operations(costs: "list[LayerCost]", size: str) -> str:
    """One line: multiply-accumulates and bit operations for a picture."""
    from srquant.measure.cost.formulas import bit_ops

    macs = sum(cost.macs for cost in costs)
    return f"{macs / 1e9:.2f} GMAC and {bit_ops(costs) / 1e12:.3f} T bit operations for a picture of {size}"


def to_json(network: "Network", path: Path, layers: "list[LayerSummary]") -> dict[str, object]:
    """The results as JSON; scripts rely on these keys.

    ``parameters`` counts those of the float network, ``size_bytes`` is the size of the file.
    """
    keys = ("name", "kind", "weight_bits", "activation_bits", "levels_used", "ranges", "piecewise_codes", "choices")
    return {
        "architecture": network.facts.architecture,
        "scale": network.facts.scale,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "size_bytes": path.stat().st_size,
        "layers": [{key: getattr(layer, key) for key in keys} for layer in layers],
    }
