"""Whether a JPEG file has its end marker. Cameras and broken downloads leave it out, though all pixels are there.

ITU-T T.81, annex B: markers, frame header and scan headers.
"""

import re
from collections.abc import Iterator

END = b"\xff\xd9"
SCAN, END_CODE = 0xDA, 0xD9
FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
ALONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""

IN_SCAN = re.compile(rb"\xff+[^\x00\xd0-\xd7\xff]")
"""A marker that ends a scan."""

COEFFICIENTS = 64


def has_end(content: bytes) -> bool:
    """Whether there is an end marker; those of thumbnails, which stand within segments, don't count."""
    return any(marker == END_CODE for marker, _ in segments(content))


def has_all_scans(content: bytes) -> bool:
    """Whether scans give every coefficient of every component in full, so that no scan is missing at the end."""
    missing: set[tuple[int, int]] = set()
    for marker, data in segments(content):
        if marker in FRAMES:
            missing = {(part, number) for part in components_of_frame(data) for number in range(COEFFICIENTS)}
        if marker == SCAN:
            missing -= given_in_full(data)
    return not missing


def segments(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Markers and their headers, from the first to the last; the data of scans is passed over."""
    at = 2
    while at + 1 < len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        length = 0 if marker in (*ALONE, END_CODE) else int.from_bytes(content[at + 2 : at + 4], "big")
        yield marker, content[at + 4 : at + 2 + length]
        at += 2 + length
        if marker == SCAN:
            following = IN_SCAN.search(content, at)
            at = len(content) if following is None else following.start()


def components_of_frame(header: bytes) -> Iterator[int]:
    """The names of the components."""
    yield from header[6::3]


def given_in_full(header: bytes) -> set[tuple[int, int]]:
    """Component and number of the coefficients that a scan gives to their last bit."""
    count = header[0] if header else 0
    selection = header[1 + 2 * count :]
    if len(selection) < 3 or selection[2] & 15:
        return set()
    return {
        (part, number) for part in header[1 : 1 + 2 * count : 2] for number in range(selection[0], selection[1] + 1)
    }


def stripped(content: bytes) -> bytes:
    """Without the half of a marker at the end."""
    return content.rstrip(b"\xff")
