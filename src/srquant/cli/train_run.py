"""Run a training: check the inputs, start the processes, train, write the result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import psutil
import torch
from safetensors.torch import save as to_safetensors

from srquant.cli.curve_page import curve_page
from srquant.cli.output import check_folder, note, progress, show
from srquant.cli.train_inputs import FLOAT
from srquant.data.benchmark import BenchmarkSet
from srquant.data.pairs import PairSet
from srquant.deploy.file.save_load import save
from srquant.deploy.frozen.freeze import freeze
from srquant.files import write_whole
from srquant.insertion.policy import LayerBits, Policy
from srquant.insertion.quantized_model import QuantizedModel
from srquant.measure.quality.validation import mean_psnr
from srquant.methods.options import text_of
from srquant.methods.trained_registry import TrainedMethod
from srquant.models.load import describe
from srquant.models.network import Network
from srquant.training.log import check_tensorboard
from srquant.training.processes import Processes, disconnect, expected_warnings_hidden, launch, one_error_message
from srquant.training.run_folder import RunFolder
from srquant.training.run_settings import Run
from srquant.training.student import Student
from srquant.training.trainer import Trainer

if TYPE_CHECKING:
    from lightning_fabric import Fabric

FIRST_BATCHES, FIRST_BATCH = 4, 16
"""Number of batches and crops per batch from which a method computes its initial ranges."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a training run.

    Attributes:
        method: the training method.
        config: its options.
        network: the float network to start from.
        start: identifies ``network`` by content, see ``start_identity``.
        policy: which layers are quantized, and their bits.
        pairs: training crops.
        sets: benchmark sets for validation; may be empty.
        run: number of steps, and how often to log, validate and save.
    """

    method: TrainedMethod[Any]
    config: Any
    network: Network
    start: str
    policy: Policy
    pairs: PairSet
    sets: list[BenchmarkSet]
    run: Run

    def configuration(self, processes: Processes) -> Mapping[str, str]:
        """All settings that change the result."""
        policy, run = self.policy, self.run
        bits = {
            "bits": _bits(policy.base),
            "head bits": _bits(policy.head),
            "tail bits": _bits(policy.tail),
            "layers": ",".join(policy.kinds),
            "overrides": " ".join(f"{override.pattern}={_bits(override.bits)}" for override in policy.overrides),
        }
        return {
            "method": self.method.name,
            **{f"option {name}": text_of(value) for name, value in asdict(self.config).items()},
            "start": self.start,
            **({} if self.method.name == FLOAT else bits),
            "pictures": self.pairs.fingerprint[:16],
            "patch": str(self.pairs.patch),
            "seed": str(run.seed),
            "steps": str(run.steps),
            "batch of all processes": str(run.batch * processes.count),
            "ema": str(run.ema),
            "precision": processes.precision,
        }


def run_training(inputs: Inputs, processes: Processes, folder: RunFolder, overwrite: bool) -> None:
    """Train, or continue a run, and write the result; all inputs are checked before the folder is created."""
    configuration = inputs.configuration(processes)
    if not overwrite:
        folder.check(configuration)
    check_folder(folder.path)
    if inputs.run.tensorboard:
        check_tensorboard()
    student = prepare(inputs)
    fabric = launch(processes, student.find_unused_parameters)
    if fabric.is_global_zero:
        folder.begin(configuration, overwrite)
    with expected_warnings_hidden(), one_error_message(fabric):
        fabric.barrier()
        result = train(inputs, fabric, student, folder)
        fabric.barrier()
    if fabric.is_global_zero:
        write_result(result, folder)
        show(describe(inputs.network), f"{folder.model}: {folder.model.stat().st_size:,} bytes; log {folder.metrics}")
    disconnect()


def prepare(inputs: Inputs) -> Student:
    """The student; its initial ranges come from the first crops of the training set."""
    starts = range(0, FIRST_BATCHES * FIRST_BATCH, FIRST_BATCH)
    crops = [inputs.pairs.batch(range(start, start + FIRST_BATCH))[0].float() / 255 for start in starts]
    torch.manual_seed(inputs.run.seed)
    return inputs.method.prepare(inputs.network, crops, inputs.policy, inputs.config, inputs.run.steps)


def train(inputs: Inputs, fabric: "Fabric", student: Student, folder: RunFolder) -> QuantizedModel | Network:
    """Run the training loop, with a progress bar in the first process."""
    validate = partial(mean_psnr, sets=inputs.sets) if inputs.sets else None
    if not fabric.is_global_zero:
        return Trainer(fabric, student, inputs.pairs, inputs.run, folder, validate).train()
    if folder.checkpoint.exists():
        note(f"continuing from {folder.checkpoint}")
    with progress() as step, curve_page(folder, step) as watched:
        report = partial(watched, f"training {inputs.method.name}")
        return Trainer(fabric, student, inputs.pairs, inputs.run, folder, validate, report).train()


def write_result(result: QuantizedModel | Network, folder: RunFolder) -> None:
    """Write the result: a quantized file, or a float checkpoint."""
    if isinstance(result, QuantizedModel):
        save(freeze(result), folder.model, overwrite=True)
    else:
        weights = {name: tensor.contiguous() for name, tensor in result.module.state_dict().items()}
        write_whole(folder.model, to_safetensors(weights))


def memory_for_pictures(processes: int) -> int:
    """Bytes of decoded pictures that each process of this machine may keep: together half of the free memory."""
    return int(psutil.virtual_memory().available) // (2 * processes)


def _bits(bits: LayerBits | None) -> str:
    return "float" if bits is None else f"{bits.weight}/{bits.activation}"
