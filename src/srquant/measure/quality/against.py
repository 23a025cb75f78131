"""Pictures without larger originals: what another network makes of them takes the place of the original."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from srquant.data.benchmark import Sample
from srquant.data.find import list_images
from srquant.data.formats.limits import MOST_WHOLE
from srquant.data.images import read_rgb
from srquant.measure.quality.patches import Upscaler


@dataclass(frozen=True)
class AgainstNetwork:
    """The pictures of a folder, each with its upscaled form by a network.

    Attributes:
        folder: low-resolution pictures; subfolders are not searched.
        scale: of the network.
        upscaler: the network: ``H x W x 3`` to ``scale*H x scale*W x 3``, 8 bit.
        most_pixels: that a picture may have.

    Raises:
        DatasetError: the folder has no pictures.
        ImageError: a picture can't be read (raised when it is read).
    """

    folder: Path
    scale: int
    upscaler: Upscaler
    most_pixels: int = MOST_WHOLE

    def __post_init__(self) -> None:
        _ = self.files

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.folder.resolve().name

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The pictures, sorted by name."""
        return tuple(list_images(self.folder))

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        for path in self.files:
            low = read_rgb(path, self.most_pixels)
            yield Sample(path.stem, low, self.upscaler(low))
