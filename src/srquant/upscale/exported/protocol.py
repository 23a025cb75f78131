"""What the files of every engine offer."""

from pathlib import Path
from typing import Protocol

from srquant.deploy.layer_precision import LayerPrecision
from srquant.upscale.engines.protocol import Images


class ExportedFile(Protocol):
    """One exported model of one input and one output, ready to run.

    Attributes:
        engine: name of the engine that runs it.
        files: the model's files.
    """

    engine: str
    files: tuple[Path, ...]

    @property
    def record(self) -> str | None:
        """The text that ``Record.to_json`` gave; None in files of other tools."""

    @property
    def input_type(self) -> str:
        """``float32``, or another type of numbers."""

    @property
    def input_shape(self) -> tuple[int | None, ...] | None:
        """Sizes of the input's axes, None where they may vary; None if even their number may vary."""

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Shape of the output for an input of this shape; raises an ``EngineError`` if the model can't take it."""
        ...

    def __call__(self, images: Images) -> Images:
        """The output for ``N x 3 x H x W``, float32."""
        ...

    def layer_precisions(self, side: int) -> list[LayerPrecision]:
        """In which precision each layer runs on this machine, for pictures of this side."""
        ...
