"""An extension of Griffe: `Example:` in a docstring is a section of examples, as `Examples:` is."""

from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Reads both headings alike, so that examples are shown as code."""

    def on_object(self, *, obj: Any, **_: Any) -> None:
        """Rename the heading before the docstring is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
