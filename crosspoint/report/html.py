"""Renders templates to HTML. All values are escaped, unless a template made them."""

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
    """Render `templates/TEMPLATE.html` with values, whose text is escaped."""
    return Markup(_environment().get_template(f"{template}.html").render(**values))


def join(parts: Iterable[Markup]) -> Markup:
    """Pieces of markup, one after the other."""
    return Markup("").join(parts)


def data_uri(png: bytes) -> str:
    """The data URI of a PNG, which embeds it in the page."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def render_page(title: str, **values: object) -> str:
    """The whole document. Its content security policy forbids all loading and all scripts but the page's own."""
    folder = resources.files("crosspoint.report") / "assets"
    style, script = ((folder / f"report.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    own = {"style": Markup(style), "script": Markup(script), "digest": digest, "generator": Markup(GENERATOR)}
    return render("page", title=title, **own, **values)
