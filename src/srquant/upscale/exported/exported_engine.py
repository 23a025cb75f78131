"""An exported file behind the interface of engines."""

import hashlib

from srquant.deploy.export.record import LayerRecord, Record
from srquant.deploy.layer_precision import INTEGER, LayerPrecision, float_names
from srquant.files import file_digest
from srquant.models.network import Facts
from srquant.upscale.engines.fingerprint import precision_in
from srquant.upscale.engines.protocol import Images
from srquant.upscale.exported.protocol import ExportedFile
from srquant.upscale.exported.sizes import small_side
from srquant.upscale.tiles.tiling import Tiling


class ExportedEngine:
    """Runs an exported file; see ``Engine``.

    Args:
        file: ready to run.
        facts: of its network; head, tail and other names of layers are empty.
        tiling: of its network.
        record: what the file says about its network; None for files of other tools.
    """

    def __init__(self, file: ExportedFile, facts: Facts, tiling: Tiling, record: Record | None) -> None:
        self.name, self.network = file.engine, None
        self.file, self.facts, self.tiling, self.record = file, facts, tiling, record

    def __call__(self, images: Images) -> Images:
        """Upscale; see ``Engine``."""
        return self.file(images)

    def fingerprint(self) -> str:
        """See ``Engine``; of the files' content and the precision."""
        return hashlib.sha256(
            ("".join(map(file_digest, self.file.files)) + precision_in(self.name)).encode()
        ).hexdigest()

    def layer_precisions(self) -> list[LayerPrecision]:
        """In which precision each layer of the graph runs on this machine; compiles the model once more."""
        return self.file.layer_precisions(small_side(self.facts))

    def float_layers(self) -> set[str]:
        """See ``Engine``."""
        return float_names(self.layer_precisions())

    @property
    def fab(self) -> float | None:
        """Feature average bit-width; None for float networks and files of other tools."""
        return None if self.record is None else self.record.fab

    @property
    def quantized_layers(self) -> tuple[LayerRecord, ...]:
        """The layers on grids, as far as the file names them."""
        return () if self.record is None else self.record.quantized

    def precision(self) -> str:
        """``int8`` or ``float32`` if all layers run in it, else ``mixed``."""
        kinds = {layer.precision == INTEGER for layer in self.layer_precisions()}
        return "mixed" if len(kinds) > 1 else INTEGER if True in kinds else "float32"
