"""Where results may be written: never over raw scans, other people's folders, or one another."""

from pathlib import Path

from spine.errors import InvalidValueError


def require_replaceable(what: str, folder: Path, *, raw: Path, mark: str) -> None:
    """Refuse a folder whose replacement as a whole would delete something else than an earlier one with its mark."""
    if raw.resolve().is_relative_to(folder.resolve()):
        raise InvalidValueError(what, str(folder), expected=f"a folder that doesn't hold the raw scans of {raw}")
    if folder.resolve().is_relative_to(raw.resolve()):
        raise InvalidValueError(what, str(folder), expected=f"a folder outside the raw scans of {raw}")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / mark).is_file():
        raise InvalidValueError(what, str(folder), expected=f"a new folder, or one with a {mark} to replace")
    if folder.exists() and not folder.is_dir():
        raise InvalidValueError(what, str(folder), expected="a folder, not a file")


def require_apart(output: Path, report: Path, lock: Path) -> None:
    """Refuse places of which one would replace another."""
    if lock.is_dir():
        raise InvalidValueError("lock of the test set", str(lock), expected="a file, not a folder")
    places = {"report": report, "lock of the test set": lock}
    for what, place in places.items():
        if place.resolve().is_relative_to(output.resolve()) or output.resolve().is_relative_to(place.resolve()):
            raise InvalidValueError(what, str(place), expected=f"a place outside the output {output}")
    if lock.resolve().is_relative_to(report.resolve()):
        raise InvalidValueError("lock of the test set", str(lock), expected=f"a place outside the report {report}")
