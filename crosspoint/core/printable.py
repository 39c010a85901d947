"""Names and messages as they can be shown: on one line, with nothing in them that commands a terminal."""

SPACES = "\u00a0\u2007\u202f\u3000"  # other spaces that names are written with; harmless on a line


def printable(value: object) -> str:
    r"""`str(value)` with every character escaped that cannot be shown: controls, line breaks, bidi marks, surrogates.

    A byte of a file name that is not UTF-8 is shown as `\xff`.
    """
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in SPACES:
        return character
    if "\udc80" <= character <= "\udcff":  # how Python keeps such a byte
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
