"""MLflow's scoring contract, as far as it makes sense for scans: JSON with a column ``scan`` in, scans out.

The forms are those of ``mlflow models serve``: ``dataframe_split``, ``dataframe_records``, ``instances``, ``inputs``.
"""

import base64
import binascii
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from components.serve_model.errors import MalformedInvocationError, TooLargeError
from components.serve_model.limits import MIB

COLUMN: Final = "scan"
"""Each cell is the content of one ``.nii`` or ``.nii.gz`` file in base64."""
_MARKS_A_SCAN, _MARKS_BESIDE = 8, 64
"""Commas, colons and opening brackets in well-formed bodies: of a row and its index, and of all that is around."""
_EXPECTED = f"rows with the one column '{COLUMN}', a NIfTI file in base64 in each"


def require_few_values(body: Path, *, most_scans: int) -> None:
    """Raise TooLargeError for a body that has far more JSON values than ``most_scans`` rows need.

    It is asked before the JSON is parsed: a few MiB of empty rows take a GiB, and nobody is answered meanwhile.
    Base64 holds none of the marks that are counted.
    """
    left = _MARKS_BESIDE + _MARKS_A_SCAN * most_scans
    with body.open("rb") as stream:
        while block := stream.read(MIB):
            left -= sum(map(block.count, (b",", b":", b"[", b"{")))
            if left < 0:
                raise TooLargeError("the body holds too many values", limit=f"{most_scans} scans")


def scans_of(body: bytes) -> list[bytes]:
    """Return the scans in the body of ``POST /invocations``; raises MalformedInvocationError."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise MalformedInvocationError("is no JSON", expected="JSON") from error
    given = [form for form in _FORMS if isinstance(content, dict) and form in content]
    if len(given) != 1 or set(content) - {given[0], "params"}:
        raise MalformedInvocationError("has none or several of the known forms", expected=f"one of {', '.join(_FORMS)}")
    if content.get("params"):
        raise MalformedInvocationError("has params, and this model knows none", expected="none")
    cells = _FORMS[given[0]](content[given[0]])
    if not cells:
        raise MalformedInvocationError("holds no scan", expected=_EXPECTED)
    return [_decoded(cell, row) for row, cell in enumerate(cells)]


def _split(frame: Any) -> list[Any]:
    _require(isinstance(frame, dict) and not set(frame) - {"columns", "index", "data"})
    _require(frame.get("columns") == [COLUMN] and isinstance(frame.get("data"), list))
    return [_only(row) for row in frame["data"]]


def _records(rows: Any) -> list[Any]:
    _require(isinstance(rows, list))
    return [_cell(row) for row in rows]


def _instances(rows: Any) -> list[Any]:
    _require(isinstance(rows, list))
    return [row if isinstance(row, str) else _cell(row) for row in rows]


def _inputs(columns: Any) -> list[Any]:
    cells = _cell(columns) if isinstance(columns, dict) else columns
    _require(isinstance(cells, list))
    return list(cells)


_FORMS: dict[str, Callable[[Any], list[Any]]] = {
    "dataframe_split": _split,
    "dataframe_records": _records,
    "instances": _instances,
    "inputs": _inputs,
}


def _only(row: Any) -> Any:
    _require(isinstance(row, list) and len(row) == 1)
    return row[0]


def _cell(row: Any) -> Any:
    if isinstance(row, dict) and "path" in row:
        raise MalformedInvocationError(
            "names a path, and this server reads no file of its own for a client", expected=_EXPECTED
        )
    _require(isinstance(row, dict) and list(row) == [COLUMN])
    return row[COLUMN]


def _require(is_so: bool) -> None:
    if not is_so:
        raise MalformedInvocationError("has another shape than its form", expected=_EXPECTED)


def _decoded(cell: Any, row: int) -> bytes:
    try:
        return base64.b64decode(cell, validate=True)
    except (binascii.Error, ValueError, TypeError) as error:
        raise MalformedInvocationError(f"has no base64 in row {row}", expected=_EXPECTED) from error
