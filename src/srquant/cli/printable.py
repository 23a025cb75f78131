"""Text that any terminal can show: names of files may hold bytes that are no UTF-8, and commands to the terminal."""

KEPT = "\n\t"


def printable(text: str) -> str:
    r"""Replace what is no character, or is a control character, by its number: ``\xe9`` or ``\x1b``."""
    return "".join(shown(character) for character in text)


def shown(character: str) -> str:
    """One character as it is shown."""
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte of a name that Python could not decode
        return f"\\x{code - 0xDC00:02x}"
    if character in KEPT or not (code < 32 or 127 <= code < 160 or 0xD800 <= code <= 0xDFFF):
        return character
    return f"\\x{code:02x}"
