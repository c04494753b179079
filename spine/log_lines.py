"""What a line of the log is: text for people, or one JSON object with the ids of the run, the fold and the version."""

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from types import MappingProxyType

_NOTHING: Mapping[str, str | int] = MappingProxyType({})
_of_process: dict[str, str | int] = {}
_of_context: ContextVar[Mapping[str, str | int]] = ContextVar("ids of log lines", default=_NOTHING)


def identify(*, run: str | None = None, fold: int | None = None) -> None:
    """Give every later line of this process, of any thread, these ids; one that is None stays as it was."""
    _of_process.update(_known(run=run, fold=fold))


@contextmanager
def about(*, fold: int | None = None, version: int | None = None) -> Iterator[None]:
    """Give the lines of the block these ids; threads that it starts don't have them."""
    token = _of_context.set({**_of_context.get(), **_known(fold=fold, version=version)})
    try:
        yield
    finally:
        _of_context.reset(token)


def current_fold() -> int | None:
    """Return the fold that a line would name here and now."""
    fold = _ids().get("fold")
    return fold if isinstance(fold, int) else None


class TextLine(logging.Formatter):
    """Time, logger, level and message; a traceback follows on lines of its own."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(name)s %(levelname)s %(message)s")


class JsonLine(logging.Formatter):
    """One object a line: ``at`` (UTC, ISO 8601), ``level``, ``logger``, ids that are known, ``message``, ``exception``.

    The line is ASCII: whatever is in a message, it ends nowhere but at its end.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return a record as its line."""
        line: dict[str, str | int] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            **_ids(),
            "message": record.getMessage(),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


def readable(line: str) -> str:
    """Return a line of either form as people read it: of JSON the message, and the traceback below it."""
    if not line.startswith("{"):
        return line
    try:
        content = json.loads(line)
        parts = [content["message"], *([content["exception"]] if "exception" in content else [])]
    except (ValueError, KeyError, TypeError):
        return line
    return "\n".join(str(part) for part in parts)


def _ids() -> Mapping[str, str | int]:
    return {**_of_process, **_of_context.get()}


def _known(**ids: str | int | None) -> dict[str, str | int]:
    return {name: value for name, value in ids.items() if value not in (None, "")}
