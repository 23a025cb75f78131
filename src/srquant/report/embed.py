"""Pictures as text inside a page."""

import base64

import numpy as np

from srquant.data import vips
from srquant.data.images import png_bytes
from srquant.data.vips import pyvips
from srquant.report.crops import Pixels


def data_uri(picture: Pixels) -> str:
    """A picture without loss as a ``data:`` address: WebP, or PNG where libvips isn't installed.

    Args:
        picture: ``H x W x 3``, 8 bit.
    """
    kind, content = ("webp", _webp(picture)) if vips.WORKS else ("png", png_bytes(picture))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _webp(picture: Pixels) -> bytes:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(picture), interpretation="srgb")
    content: bytes = image.webpsave_buffer(lossless=True)
    return content
