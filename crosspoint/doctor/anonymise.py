"""What is sent with a bug report names no host, no user and no place on the disk."""

import getpass
import re
import socket
from typing import Any

PATH = re.compile(r"(?<![\w:/.<~])(?:~|[A-Za-z]:)?(?:[/\\][^\s/\\:'\"<>,;()]+){2,}[/\\]?")


def scrub(value: Any) -> Any:
    """The same with paths cut to their last part, and host and user names replaced, in all strings within.

    Args:
        value: Whatever JSON can hold.
    """
    if isinstance(value, dict):
        return {key: scrub(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [scrub(entry) for entry in value]
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
