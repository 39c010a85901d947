"""Removes host name, user name and paths from what is attached to a bug report."""

import getpass
import re
import socket
from dataclasses import fields, is_dataclass, replace
from typing import TypeVar, cast

T = TypeVar("T")
PATH = re.compile(r"(?<![\w:/.<~])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:'\"<>,;()]+){2,}[/\\]?")


def scrub(value: T) -> T:
    """Shorten all paths in the strings of a value to their last part, and replace host and user name.

    Args:
        value: A dataclass, or a dictionary, list, tuple or other value that may be in one.
    """
    return cast(T, _scrub(value))


def _scrub(value: object) -> object:
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: _scrub(getattr(value, field.name)) for field in fields(value)})
    if isinstance(value, dict):
        return {key: _scrub(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_scrub(entry) for entry in value)
    return _scrub_text(value) if isinstance(value, str) else value


def _scrub_text(text: str) -> str:
    text = PATH.sub(lambda match: "…/" + re.split(r"[/\\]", match[0].rstrip("/\\"))[-1], text)
    for name, instead in ((_host(), "<host>"), (_user(), "<user>")):
        if len(name) > 2:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", instead, text)
    return text


def _host() -> str:
    return socket.gethostname()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
