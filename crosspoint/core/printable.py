"""Makes names and messages safe to print: one line, without characters that control the terminal."""

SPACES = "\u00a0\u2007\u202f\u3000"  # spaces other than " " that are kept, because they are harmless


def printable(value: object) -> str:
    r"""`str(value)` with control characters, line breaks, bidi marks and surrogates escaped.

    A byte of a file name that is not UTF-8 is shown as `\xff`.
    """
    text = str(value)
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    if character.isprintable() or character in SPACES:
        return character
    if "\udc80" <= character <= "\udcff":  # Python's surrogate for a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
