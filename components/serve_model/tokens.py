"""The tokens file: who may do what, by the SHA-256 of each token; read again whenever it changes."""

import hashlib
import hmac
import logging
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import AfterValidator, AwareDatetime, Field, ValidationError

from spine.errors import MalformedFileError, MissingPathError
from spine.values import SafeLoader, Value, yaml_place

Role = Literal["reader", "approver", "operator"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Each role may do what those before it may."""
RESERVED = frozenset({"anonymous", "automatic"})
"""Names that the audit log and the ledger use for nobody."""
_LOG = logging.getLogger(__name__)
_EXPECTED = "a list of entries with name, role (reader, approver or operator), sha256 and perhaps expires"
_Stamp = tuple[int, ...] | None


def _unreserved(name: str) -> str:
    if name in RESERVED:
        raise ValueError("this name is kept for nobody")
    return name


class TokenEntry(Value):
    """One token: whose it is and what it allows; the token itself is never kept."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"), AfterValidator(_unreserved)]
    """The actor that the ledger records for what is done with this token."""
    role: Role
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """Hexadecimal SHA-256 of the token."""
    expires: AwareDatetime | None = None

    def has_expired(self) -> bool:
        """Whether the token's time is over."""
        return self.expires is not None and datetime.now(UTC) >= self.expires


class Tokens:
    """The entries of a file, followed: a token that is taken out of it is refused from the next request on.

    A file that can't be used any more leaves the last good entries in force; ``problem`` tells why. Raises
    SpinelineError where it can't be used to begin with.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp = _stamp(path)
        self._entries = read_entries(path)
        self.problem: str | None = None

    def entry(self, token: str) -> TokenEntry | None:
        """Return the entry of a token, or None where there is none or its time is over.

        Every entry is compared in constant time: how long it takes says nothing about how near a guess is.
        """
        self._follow()
        given = digest_of(token)
        found = None
        for known in self._entries:
            if hmac.compare_digest(known.sha256, given):
                found = known
        return None if found is None or found.has_expired() else found

    def look(self) -> str | None:
        """Read the file again if it changed, and return what is wrong with it."""
        self._follow()
        return self.problem

    def _follow(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._entries = read_entries(self._path)
        except (MalformedFileError, MissingPathError) as error:
            self.problem = str(error)
            _LOG.error("the tokens file can't be used, the entries read before stay in force: %s", error)
            return
        self.problem = None
        _LOG.info("the tokens file changed and was read again, %d entries", len(self._entries))


def digest_of(token: str) -> str:
    """Return the hexadecimal SHA-256 that stands for a token."""
    return hashlib.sha256(token.encode("utf-8", errors="surrogatepass")).hexdigest()


def read_entries(path: Path) -> tuple[TokenEntry, ...]:
    """Read a YAML or JSON list of entries; a fault is told with the entry's name and never with its content.

    Raises MissingPathError, or MalformedFileError also for a file that everybody may write.
    """
    try:
        with path.open(encoding="utf-8") as stream:
            if stat.S_IMODE(path.stat().st_mode) & stat.S_IWOTH:
                raise MalformedFileError(path, reason="everybody may write it", expected="a file of mode 0600")
            content = yaml.load(stream, Loader=SafeLoader)  # noqa: S506 - ours is safe
    except FileNotFoundError as error:
        raise MissingPathError(path, expected="the tokens file that SPINELINE_TOKENS names") from error
    except OSError as error:
        raise MalformedFileError(path, reason=(error.strerror or "refused").lower(), expected=_EXPECTED) from error
    except (yaml.YAMLError, ValueError) as error:
        # A parser's own words may quote what stands there, which may be a token.
        raise MalformedFileError(path, reason=yaml_place(error), expected=_EXPECTED) from error
    if content is None:
        return ()
    if not isinstance(content, list):
        raise MalformedFileError(path, reason="no list", expected=_EXPECTED)
    entries = tuple(_entry(item, number, path) for number, item in enumerate(content, start=1))
    _require_distinct(entries, path)
    return entries


def _entry(item: Any, number: int, path: Path) -> TokenEntry:
    try:
        return TokenEntry.model_validate(item)
    except ValidationError as error:
        # A field that is not known is mostly a known one misspelt, or a token where its digest belongs.
        faults = error.errors(include_input=False)
        first = min(faults, key=lambda fault: fault["type"] != "extra_forbidden")
        field = ".".join(str(part) for part in first["loc"])[:40]
        name = item.get("name") if isinstance(item, dict) else None
        called = f"entry '{name[:64]}'" if isinstance(name, str) else f"entry number {number}"
        reason = f"{called}: {field + ': ' if field else ''}{first['msg']}"
        raise MalformedFileError(path, reason=reason, expected=_EXPECTED) from None


def _require_distinct(entries: tuple[TokenEntry, ...], path: Path) -> None:
    names: set[str] = set()
    digests: set[str] = set()
    for entry in entries:
        if entry.name in names or entry.sha256 in digests:
            reason = f"entry '{entry.name}': its name or its sha256 stands there twice"
            raise MalformedFileError(path, reason=reason, expected="one entry for a name and a token")
        names.add(entry.name)
        digests.add(entry.sha256)


def _stamp(path: Path) -> _Stamp:
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_mode)
