"""Times of several models in OpenVINO, taken in turns on this machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from srquant.errors import EngineError
from srquant.insertion.branched_network import branches_of
from srquant.measure.speed.exported_models import precision_of
from srquant.measure.speed.layer_times import openvino_layer_times
from srquant.measure.speed.time_models import ExportedModel, time_models
from srquant.models.network import Network
from srquant.temporary_folders import temporary_folder
from srquant.upscale.exported.write import export_model


@dataclass(frozen=True)
class Setting:
    """How models are timed.

    Attributes:
        height: of the low-resolution picture in pixels.
        width: of it.
        threads: of the engine.
        rounds: how often each model runs.
    """

    height: int
    width: int
    threads: int
    rounds: int


@dataclass(frozen=True)
class Speed:
    """Times of one model.

    Attributes:
        setting: how they were taken.
        milliseconds: for one picture, the median.
        precisions: ``int8``, ``float32``, ... by layer.
        shares: of the time of all operations, 0 to 1, by layer.
    """

    setting: Setting
    milliseconds: float
    precisions: dict[str, str]
    shares: dict[str, float]

    def milliseconds_per_megapixel(self, scale: int) -> float:
        """Time for 10^6 pixels of the result."""
        return self.milliseconds * 1e6 / (self.setting.height * self.setting.width * scale**2)


def speeds(
    networks: Sequence[Network], setting: Setting, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[Speed | None]:
    """The times of each network; None where OpenVINO can't run it.

    A network whose bits depend on the picture counts with its most expensive branch.
    """
    with temporary_folder() as folder:
        exported = [_export(network, folder / f"{i}.xml") for i, network in enumerate(networks)]
        models = [found[0] for found in exported if found is not None]
        size = setting.height, setting.width
        timed = iter(time_models(models, *size, setting.threads, setting.rounds, progress))
        return [None if found is None else _speed(*found, next(timed).timing.median_ms, setting) for found in exported]


def _export(network: Network, path: Path) -> tuple[ExportedModel, dict[str, str]] | None:
    part = branches_of(network)[-1]
    try:
        layers = export_model(part, path)
    except EngineError:
        return None
    precisions = {layer.name: layer.precision for layer in layers}
    return ExportedModel("openvino", precision_of(part), "openvino", path), precisions


def _speed(model: ExportedModel, precisions: dict[str, str], milliseconds: float, setting: Setting) -> Speed:
    times = openvino_layer_times(model.path, setting.height, setting.width, setting.threads, setting.rounds)
    return Speed(setting, milliseconds, precisions, times.shares)
