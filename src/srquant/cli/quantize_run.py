"""Run a method on a network: say how long it will take, continue a stopped run, show progress."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from srquant.cli.curve_page import curve_page
from srquant.cli.output import check_folder, note, progress
from srquant.cli.start_identity import start_identity
from srquant.data.calibration import CalibrationSet
from srquant.errors import CheckpointError, OutputError, PolicyError
from srquant.insertion.policy import Override, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.measure.cost.layer_costs import SMALL, layer_costs
from srquant.methods.distill.method import Distill
from srquant.methods.distill.saved import Saved
from srquant.methods.options import text_of
from srquant.methods.registry import Method
from srquant.models.network import Network
from srquant.training.run_folder import RunFolder


@dataclass(frozen=True)
class Inputs:
    """The inputs of a quantization.

    Attributes:
        method: the method.
        config: its options.
        network: the float network.
        model: its file.
        policy: which layers are quantized, and their bits.
        pictures: calibration crops.
    """

    method: Method[Any]
    config: Any
    network: Network
    model: Path
    policy: Policy
    pictures: CalibrationSet

    def configuration(self) -> Mapping[str, str]:
        """All settings that change the result."""
        return {
            "method": self.method.name,
            **{f"option {name}": text_of(value) for name, value in asdict(self.config).items()},
            "start": start_identity(str(self.model)),
            **{name: str(value) for name, value in vars(self.policy).items()},
            "pictures": self.pictures.fingerprint()[:16],
        }


def run_folder(path: Path | None, output: Path, method: Method[Any]) -> RunFolder | None:
    """Where a run keeps its curve and its state; None for methods that keep none.

    Raises:
        PolicyError: a folder is given for such a method.
        OutputError: it can't be created.
    """
    if method.in_folder is None:
        if path is not None:
            raise PolicyError(f"--run {path} is only for auto and distill, not for {method.name}: leave it out")
        return None
    folder = path or output.with_suffix(".run")
    check_folder(folder)
    return RunFolder(folder)


def quantize_network(inputs: Inputs, folder: RunFolder | None, overwrite: bool) -> QuantizedModel:
    """Run the method; a method that learns for long continues the stopped run in ``folder``."""
    method, arguments = inputs.method, (inputs.network, inputs.pictures, inputs.policy, inputs.config)
    if method.in_folder is None or folder is None:
        with progress() as step:
            return method.quantize(*arguments, step)
    begin(folder, inputs.configuration(), overwrite)
    note(announcement(inputs))
    with progress() as step, curve_page(folder, step) as watched:
        return method.in_folder(*arguments, watched, folder)


def begin(folder: RunFolder, wanted: Mapping[str, str], overwrite: bool) -> None:
    """Continue a run with these settings; with ``overwrite`` replace one with other settings or a damaged state.

    Raises:
        OutputError: as ``RunFolder.begin``.
        CheckpointError: the state is damaged.
    """
    try:
        folder.begin(wanted, overwrite=False)
        Saved(folder).state()
    except (OutputError, CheckpointError):
        if not overwrite:
            raise
        folder.begin(wanted, overwrite=True)


def kept_float(network: Network, wanted: Policy, found: Policy) -> list[str]:
    """A line that names the layers that the method kept float, and what they cost; nothing without any.

    Args:
        network: the float network.
        wanted: the policy that the user gave.
        found: the policy of the quantized network, which may have more overrides.
    """
    patterns = [override.pattern for override in added(wanted, found)]
    costs = {cost.name: cost.macs for cost in layer_costs(network, SMALL, SMALL)}
    shares = {name: costs[name] / sum(costs.values()) for p in patterns for name in costs if fnmatchcase(name, p)}
    if not shares:
        return []
    named = ", ".join(f"{name} ({share:.1%})" for name, share in shares.items())
    return [
        f"kept float, as the picture needs it (share of the multiplications): {named}; --set keep_sensitive=false: none"
    ]


def added(wanted: Policy, found: Policy) -> list[Override]:
    """The layers that the method kept float, beyond what the user gave."""
    return [override for override in found.overrides[len(wanted.overrides) :] if override.bits is None]


def finish(folder: RunFolder | None) -> None:
    """Remove the state of a run whose result is written; the curve stays."""
    if folder is not None:
        folder.checkpoint.unlink(missing_ok=True)


def announcement(inputs: Inputs) -> str:
    """One line: what will be done and about how long it takes, such as "4 bits: distill, about 6 min"."""
    config: Distill = inputs.config.learning(inputs.policy)
    base = inputs.policy.base
    bits = f"{base.weight} bits" if base.weight == base.activation else f"{base.weight}/{base.activation} bits"
    starts = len(inputs.config.policies(inputs.policy))
    needed = inputs.network, inputs.pictures.patch, starts
    line = f"{bits}: distill, {config.effort}, about {minutes(config.seconds(*needed))}"
    if config.effort == "quick":
        return line
    quick = replace(config, effort="quick", steps=None, batch=None)
    return f"{line}; --effort quick: about {minutes(quick.seconds(*needed))}"


def minutes(seconds: float) -> str:
    """Rounded up to whole minutes."""
    return f"{max(1, round(seconds / 60 + 0.5))} min"
