"""Whether a JPEG file has its end marker. Cameras and broken downloads leave it out, though all pixels are there."""

END = b"\xff\xd9"
ONES = b"\xfe" * 64
"""Bits that continue a scan; a byte of eight ones would begin a marker."""

SCAN = 0xDA
ALONE = (0x01, *range(0xD0, 0xD9))
"""Markers without a length."""


def has_end(content: bytes) -> bool:
    """Whether an end marker follows the first scan; those of thumbnails, which stand before it, don't count."""
    return content.find(END, start_of_scan(content)) >= 0


def start_of_scan(content: bytes) -> int:
    """Position of the first scan (ITU-T T.81, B.1.1); the end of the file if there is none."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if marker == SCAN:
            return at
        at += 1 if marker == 0xFF else 2
        if marker not in (0xFF, *ALONE):
            at += int.from_bytes(content[at : at + 2], "big")
    return len(content)
