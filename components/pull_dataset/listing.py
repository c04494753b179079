"""DVC's listing of a directory: which files it holds, each by the MD5 of its content."""

import json
import re
from pathlib import Path, PurePosixPath

from spine.errors import MalformedFileError

_MD5 = re.compile(r"[0-9a-f]{32}")

Contents = dict[str, list[PurePosixPath]]
"""The paths of a data set by the MD5 of their content, in the listing's order; equal files share one."""


def read_listing(listing: Path) -> Contents:
    """Read a directory object of DVC; raises MalformedFileError where it is none or leads out of the data set."""
    try:
        rows = [(str(row["md5"]), str(row["relpath"])) for row in json.loads(listing.read_text(encoding="utf-8"))]
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedFileError(listing, reason="not a DVC directory listing", expected="md5 and relpath") from error
    contents: Contents = {}
    seen: set[PurePosixPath] = set()
    for md5, name in rows:
        path = PurePosixPath(name)
        if not _MD5.fullmatch(md5):
            raise MalformedFileError(listing, reason=f"hash {md5!r} of {path}", expected="32 hexadecimal digits")
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise MalformedFileError(listing, reason=f"path {name!r} leaves the data set", expected="inner paths")
        if path in seen:
            raise MalformedFileError(listing, reason=f"path {path} is listed twice", expected="each path once")
        seen.add(path)
        contents.setdefault(md5, []).append(path)
    return contents
