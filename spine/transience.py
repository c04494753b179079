"""Errors that pass: a service, network or volume was unreachable, and another attempt can succeed."""

import errno
from collections.abc import Iterator

from spine.errors import SpinelineError

_ERRNOS = frozenset(
    (
        errno.EIO,
        errno.ESTALE,
        errno.ENOTCONN,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.ECONNABORTED,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENETRESET,
        errno.ETIMEDOUT,
        errno.EPIPE,
    )
)
"""What the operating system reports of a network or a network volume that does not answer."""
_MODULES = ("botocore", "urllib3", "requests", "httpx", "aiohttp", "mlflow", "sqlalchemy", "psycopg2", "dvc")
_NAMES = ("Connect", "Timeout", "Unreachable", "OperationalError", "InterfaceError", "NameResolution", "MaxRetry")


def is_transient(error: BaseException) -> bool:
    """Return whether ``error``, or one that led to it, says that something was unreachable."""
    return any(_is_transient(one) for one in _chain(error))


def _is_transient(error: BaseException) -> bool:
    if isinstance(error, SpinelineError) and error.is_transient:
        return True
    if isinstance(error, ConnectionError | TimeoutError):
        return True
    if isinstance(error, OSError) and error.errno in _ERRNOS:
        return True
    response = getattr(error, "response", None)
    if isinstance(response, dict) and response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0) >= 500:
        return True  # what botocore raises for the answer of a store
    # The libraries are not imported here: most steps use none of them.
    kind = type(error)
    return kind.__module__.partition(".")[0] in _MODULES and any(part in kind.__name__ for part in _NAMES)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
