"""Addresses of git repositories and DVC remotes, as users give them."""

import re

from spine.errors import InvalidValueError

_PASSWORD = re.compile(r"^(\w[\w+.-]*://[^/:@]*):[^/]*@")


def is_path(repository: str) -> bool:
    """Return whether a repository is a folder of this machine, not a URL."""
    return "://" not in repository and not repository.startswith("git@")


def require_no_password(name: str, url: str) -> None:
    """Raise InvalidValueError for a URL with a password, which the message leaves out: many read a run's parameters."""
    if found := _PASSWORD.match(url):
        expected = "one without a password: a credential helper has it (docs/profiles.md)"
        raise InvalidValueError(name, f"{found[1]}:…@{url[found.end() :]}", expected=expected)
