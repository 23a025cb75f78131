"""The student of a QuantSR run, as its checkpoint has it, and crops that it learns from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from srquant.cli.settings import layer_bits, layer_kinds, parse_override
from srquant.cli.start_identity import start_identity
from srquant.cli.train_inputs import find_trained, first_network
from srquant.cli.train_run import Inputs, memory_for_pictures, prepare
from srquant.data.pairs import PairSet
from srquant.errors import InputError
from srquant.insertion.policy import LayerBits, Policy
from srquant.methods.options import configure
from srquant.methods.quantsr.method import QuantSRStudent
from srquant.training.checkpoint import fitting, load_state
from srquant.training.run_folder import RunFolder
from srquant.training.run_settings import Run

if TYPE_CHECKING:
    from srquant.models.network import Network

OPTION = "option "
"""Before the name of a method's option in a run's configuration."""


def open_run(folder: RunFolder, init: str, hr: Path, scale: int | None) -> tuple[QuantSRStudent, PairSet, int]:
    """A run's student, its pictures, and the number of steps that it has done.

    Raises:
        InputError: the folder has no QuantSR run with a checkpoint, or the run started from other weights or pictures.
        CheckpointError: the checkpoint is damaged.
    """
    settings = _configuration(folder)
    if start_identity(init) != settings["start"]:
        raise InputError(f"--init {init}: the run in {folder.path} started from other weights; give those")
    network = first_network(init, "quantsr", scale, 0)
    pairs = _pairs(settings, hr, network.facts.scale, folder)
    student = prepare(_inputs(settings, network, pairs))
    assert isinstance(student, QuantSRStudent)
    state = load_state(folder.checkpoint)
    with fitting(folder.checkpoint):
        student.load_state_dict(dict(state.student))
    return student, pairs, state.steps


def crops_of(pairs: PairSet, count: int) -> tuple[Tensor, Tensor]:
    """The first crops of a set, in [0, 1]: of low and of high resolution."""
    low, high = pairs.batch(range(count))
    return low.to(torch.float32) / 255, high.to(torch.float32) / 255


def _configuration(folder: RunFolder) -> Mapping[str, str]:
    try:
        settings = json.loads(folder.configuration.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder.path} has no run: give the folder that 'srquant train' wrote") from error
    if settings.get("method") != "quantsr":
        raise InputError(f"{folder.path} is a run of {settings.get('method')}: only quantsr has phi; give such a run")
    if not folder.checkpoint.exists():
        raise InputError(f"{folder.path} has no checkpoint yet: let the run go on")
    return {str(name): str(value) for name, value in settings.items()}


def _pairs(settings: Mapping[str, str], hr: Path, scale: int, folder: RunFolder) -> PairSet:
    pairs = PairSet((hr,), scale, int(settings["patch"]), int(settings["seed"]), (), memory_for_pictures(1))
    if pairs.fingerprint[:16] != settings["pictures"]:
        raise InputError(f"--hr {hr}: the run in {folder.path} learned from other pictures; give those")
    return pairs


def _inputs(settings: Mapping[str, str], network: "Network", pairs: PairSet) -> Inputs:
    """What ``srquant train`` made of the same options."""
    method = find_trained("quantsr")
    options = [f"{name.removeprefix(OPTION)}={value}" for name, value in settings.items() if name.startswith(OPTION)]
    base = layer_bits("bits", settings["bits"])
    assert isinstance(base, LayerBits)
    policy = Policy(
        base,
        layer_bits("head bits", settings["head bits"]),
        layer_bits("tail bits", settings["tail bits"]),
        overrides=tuple(parse_override(text) for text in settings["overrides"].split()),
        kinds=layer_kinds(settings["layers"], method, network),
    )
    run = Run(int(settings["steps"]), seed=int(settings["seed"]))
    return Inputs(method, configure(method.config, options), network, settings["start"], policy, pairs, [], run)
