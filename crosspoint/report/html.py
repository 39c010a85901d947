"""Markup from templates: whatever they are given is escaped, unless a template made it."""

import base64
import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from crosspoint.core.outputs import GENERATOR
from crosspoint.report import words


@cache
def _environment() -> Environment:
    loader = PackageLoader("crosspoint.report", "templates")
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    filters = (words.percent, words.points, words.span, words.where, words.described, words.file_name)
    made.filters.update({each.__name__: each for each in filters})
    return made


def render(template: str, **values: object) -> Markup:
    """The markup that `templates/TEMPLATE.html` makes of the values; their text is escaped."""
    return Markup(_environment().get_template(f"{template}.html").render(**values))


def join(parts: Iterable[Markup]) -> Markup:
    """Pieces of markup, one after the other."""
    return Markup("").join(parts)


def data_uri(png: bytes) -> str:
    """The address of a picture that lies in the page itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def render_page(title: str, **values: object) -> str:
    """The whole document; its policy lets a browser load nothing at all and run the page's own script alone."""
    folder = resources.files("crosspoint.report") / "assets"
    style, script = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "digest": digest, "generator": Markup(GENERATOR)}
    return render("page", title=title, **own, **values)
