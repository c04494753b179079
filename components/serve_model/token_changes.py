"""Changes to the tokens file: make a token, take one away; each replaces the file as a whole."""

import contextlib
import os
import re
import secrets
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from components.serve_model.tokens import Role, TokenEntry, digest_of, read_entries
from spine.errors import InvalidValueError, UnknownNameError
from spine.locks import held
from spine.storage import flush, out_of_space_named, strict_json

_TOKEN_BYTES = 32
_LOCK_S = 10.0


def make_token(path: Path, *, name: str, role: Role, lasts: timedelta | None) -> str:
    """Add an entry to the file and return its token, which is kept nowhere; the file is made where it is absent.

    Raises InvalidValueError for a name that is taken or can't be one, MalformedFileError for a file that is wrong.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    expires = None if lasts is None else datetime.now(UTC).replace(microsecond=0) + lasts
    entry = TokenEntry.parse({"name": name, "role": role, "sha256": digest_of(token), "expires": expires}, where=name)
    with _alone(path):
        known = read_entries(path) if path.exists() else ()
        if any(other.name == name for other in known):
            raise InvalidValueError("name", name, expected="one that has no token; --revoke takes a token away")
        _write(path, (*known, entry))
    return token


def revoke_token(path: Path, *, name: str) -> None:
    """Take the entry of ``name`` out of the file; a server that runs refuses its token from the next request on."""
    with _alone(path):
        known = read_entries(path)
        if all(entry.name != name for entry in known):
            raise UnknownNameError("token", name, accepted=[entry.name for entry in known])
        _write(path, [entry for entry in known if entry.name != name])


def duration(text: str) -> timedelta:
    """Read ``90d`` or ``12h``; raises InvalidValueError for anything else."""
    found = re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text)
    if found is None:
        raise InvalidValueError("expires", text, expected="days or hours such as 90d or 12h")
    number = int(found[1])
    return timedelta(days=number) if found[2] == "d" else timedelta(hours=number)


def _alone(path: Path) -> contextlib.AbstractContextManager[None]:
    # Two commands at once: the later one must see what the earlier one wrote.
    return held(path.resolve().parent / f".{path.name}.lock", wait_s=_LOCK_S, on_wait=lambda _: None)


def _write(path: Path, entries: Sequence[TokenEntry]) -> None:
    # The link stays and what it points at is replaced.
    target = path.resolve()
    content = [entry.model_dump(mode="json", exclude_none=True) for entry in entries]
    text = (
        strict_json(content, indent=2) + "\n" if target.suffix == ".json" else yaml.safe_dump(content, sort_keys=False)
    )
    with out_of_space_named(target):
        # Made with mode 0600: what others may not read is at no moment readable to them.
        handle, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as stream:
                stream.write(text)
            _keep_owner(target, partial)
            flush(Path(partial))
            Path(partial).replace(target)
        finally:
            Path(partial).unlink(missing_ok=True)


def _keep_owner(target: Path, partial: str) -> None:
    """Leave the file to whom it belonged: root makes tokens for a server that is somebody else."""
    with contextlib.suppress(FileNotFoundError, PermissionError):
        found = target.stat()
        os.chown(partial, found.st_uid, found.st_gid)
