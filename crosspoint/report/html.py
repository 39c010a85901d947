"""HTML that cannot be broken by what it shows: every string is escaped unless it was built here."""

import base64
import hashlib
import html
from collections.abc import Sequence
from importlib import resources

from crosspoint.core.outputs import GENERATOR


class Html(str):
    """Markup; any other string is text and is escaped."""

    __slots__ = ()


def markup(value: object) -> Html:
    """`value` as markup: itself if it is markup, else its text with every special character escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def tag(name: str, *content: object, **attributes: object) -> Html:
    """An element; a trailing underscore of an attribute is dropped, others become hyphens.

    Example:
        >>> tag("td", "a < b", class_="number")
        '<td class="number">a &lt; b</td>'
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(str(value))}"' for key, value in attributes.items()
    )
    return Html(f"<{name}{written}>{''.join(map(markup, content))}</{name}>")


def join(parts: Sequence[object]) -> Html:
    """Markup or text, one after the other."""
    return Html("".join(map(markup, parts)))


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> Html:
    """A table that scrolls within itself where the page is narrow."""
    head = tag("thead", tag("tr", *(tag("th", column, scope="col") for column in columns)))
    body = tag("tbody", *(tag("tr", *(tag("td", cell) for cell in row)) for row in rows))
    return tag("div", tag("table", head, body), class_="wide")


def badge(value: object, kind: str) -> Html:
    """A short remark, coloured by its kind: `good`, `warn` or `bad`."""
    return tag("span", value, class_=f"badge {kind}")


def bar(share: float, text: str, kind: str = "") -> Html:
    """A bar of this share of the full width, 0 to 1, followed by what it stands for; `kind` colours it."""
    width = 100 * min(max(share, 0.0), 1.0)
    return tag("span", tag("i", style=f"width:{width:.1f}%"), tag("b", text), class_=f"bar {kind}".rstrip())


def picture(png: bytes, description: str, **attributes: object) -> Html:
    """An image that lies in the page itself."""
    source = "data:image/png;base64," + base64.b64encode(png).decode()
    return Html(tag("img", src=source, alt=description, **attributes).removesuffix("</img>"))


def page(title: str, content: Sequence[Html]) -> str:
    """The whole document; its policy lets a browser load nothing at all and run the page's own script alone."""
    folder = resources.files("crosspoint.report") / "assets"
    style = (folder / "report.css").read_text(encoding="utf-8")
    script = (folder / "report.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    head = join(
        [
            Html('<meta charset="utf-8">'),
            Html(GENERATOR),
            Html(f'<meta http-equiv="Content-Security-Policy" content="{policy}">'),
            Html('<meta name="viewport" content="width=device-width, initial-scale=1">'),
            Html('<meta name="color-scheme" content="light dark">'),
            tag("title", title),
            tag("style", Html(style)),
        ]
    )
    body = tag("body", tag("main", *content), tag("script", Html(script)))
    return f"<!doctype html>\n{tag('html', tag('head', head), body, lang='en')}\n"
