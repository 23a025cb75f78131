"""The geometry of a convolution in a file: a JSON object."""

from dataclasses import asdict

from srquant.errors import QuantizedFileError
from srquant.models.blocks.conv_geometry import ConvGeometry
from srquant.quantizers.stored import Fields, Json


def geometry_record(geometry: ConvGeometry | None) -> Json:
    """The JSON object of a geometry; null for a linear layer, which has none."""
    return None if geometry is None else {key: _listed(value) for key, value in asdict(geometry).items()}


def read_geometry(fields: Fields) -> ConvGeometry | None:
    """Remove the field ``geometry``.

    Raises:
        QuantizedFileError: it is impossible.
    """
    inner = fields.inside_optional("geometry")
    if inner is None:
        return None
    pairs = [inner.integers(name, least) for name, least in (("stride", 1), ("padding", 0), ("dilation", 1))]
    if any(len(pair) != 2 for pair in pairs):
        raise QuantizedFileError(
            f"{inner.where}: stride, padding and dilation are {pairs}, need pairs of height and width"
        )
    (stride, padding, dilation), groups = (((h, w) for h, w in pairs), inner.integer("groups", 1))
    inner.end()
    return ConvGeometry(stride, padding, dilation, groups)


def _listed(value: int | tuple[int, int]) -> Json:
    return list(value) if isinstance(value, tuple) else value
