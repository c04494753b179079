"""Errors of this layer: one root class, one class per condition.

A message names the value, the place and what was expected. Programs print it as one line and exit with
``exit_code``: 2 for bad input, 1 for a verdict against.
"""

from pathlib import Path
from typing import Any


class SpinelineError(Exception):
    """The root of every error that is expected: it is told in one line, without a traceback."""

    exit_code = 2
    is_transient = False
    """Whether another attempt can succeed without a change: a service or volume is unreachable."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Let an error come back from a worker process although its class asks for more than the message."""
        return _restored, (type(self), self.args, self.__dict__)


class MissingPathError(SpinelineError):
    """A file or folder that was named is not there."""

    def __init__(self, path: Path, *, expected: str) -> None:
        super().__init__(f"{path}: not found; expected {expected}")


class UnreadableVolumeError(SpinelineError):
    """A volume can't be read as a three-dimensional NIfTI with finite voxels."""

    def __init__(self, path: Path, *, reason: str, expected: str = "a readable 3-D NIfTI volume") -> None:
        self.reason = reason
        self.size = path.stat().st_size if path.is_file() else 0
        super().__init__(f"{path}: {reason}; expected {expected}")


class WrongSuffixError(UnreadableVolumeError):
    """A file is gzip although its name says that it is not, or the other way round."""


class DimensionError(UnreadableVolumeError):
    """A volume has other than three dimensions, or no voxels."""

    def __init__(self, path: Path, *, shape: tuple[int, ...]) -> None:
        self.shape = shape
        reason = f"has {len(shape)} dimensions {shape}" if 0 not in shape else f"is empty, shape {shape}"
        super().__init__(path, reason=reason)


class NotFiniteError(UnreadableVolumeError):
    """Voxels are NaN or infinite."""

    def __init__(self, path: Path, *, count: int) -> None:
        self.count = count
        super().__init__(path, reason=f"{count} voxels are NaN or infinite", expected="finite voxels")


class GridMismatchError(SpinelineError):
    """Two volumes that must lie on one grid do not."""

    def __init__(self, first: Path | str, second: Path | str, *, difference: str) -> None:
        super().__init__(f"{first} and {second} lie on different grids: {difference}; expected one grid within 1e-4")


class LabelValueError(SpinelineError):
    """A label map holds values that are no label id of ours."""

    def __init__(
        self, path: Path, *, reason: str, value: float, expected: str = "whole numbers 0-25 (1 = C1 … 25 = S1)"
    ) -> None:
        self.value = value
        super().__init__(f"{path}: {reason}; expected {expected}")


class UnknownNameError(SpinelineError):
    """A name (recipe, policy, profile, version, revision) is not one of those that exist."""

    def __init__(self, kind: str, name: object, *, accepted: list[str] | str) -> None:
        known = accepted if isinstance(accepted, str) else ", ".join(accepted) or "none yet"
        super().__init__(f"unknown {kind} '{name}'; expected one of: {known}")


class MalformedFileError(SpinelineError):
    """A YAML or JSON file does not follow its schema."""

    def __init__(self, path: Path | str, *, reason: str, expected: str) -> None:
        super().__init__(f"{path}: {reason}; expected {expected}")


class DigestMismatchError(SpinelineError):
    """Content is not what its record says it is."""

    def __init__(self, path: Path | str, *, found: str, expected: str) -> None:
        super().__init__(f"{path}: digest is {found[:19]}…; expected {expected[:19]}…")


class InvalidValueError(SpinelineError):
    """A value given by the user is outside what is accepted."""

    def __init__(self, what: str, value: object, *, expected: str) -> None:
        super().__init__(f"{what} is {value!r}; expected {expected}")


class UsageError(SpinelineError):
    """Arguments that do not go together, or a command that lacks its precondition; the message names the remedy."""


class OutOfSpaceError(SpinelineError):
    """The disk is full, or has less room than the work needs."""

    def __init__(self, path: Path, *, needed: str = "free space for the result") -> None:
        super().__init__(f"{path}: no space left on this disk; expected {needed}")


class StepFailedError(SpinelineError):
    """A step of a pipeline failed, or left out a record that it owes."""

    def __init__(self, step: str, *, reason: str, log_tail: str = "") -> None:
        self.step = step
        self.log_tail = log_tail
        super().__init__(f"step '{step}' {reason}")


def _restored(cls: type[SpinelineError], args: tuple[Any, ...], state: dict[str, Any]) -> SpinelineError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
