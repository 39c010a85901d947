"""One HTML page about a run."""

from crosspoint.core.errors import require

require("jinja2", "report", purpose="the report")
