"""Every condition that the registry refuses with."""

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from spine.errors import SpinelineError


class RegistryError(SpinelineError):
    """The root of the registry's errors."""


class NotPromotableError(RegistryError):
    """A version's state does not allow what was asked of it."""

    def __init__(self, version: int, *, state: str, wanted: str, expected: str) -> None:
        super().__init__(f"version {version} is {state} and can't be {wanted}; expected {expected}")


class NothingBeforeError(RegistryError):
    """There is no version that a rollback could return to."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"there is no version to roll back to: {reason}; expected one that served before, or --to")


class ConflictError(RegistryError):
    """Somebody else wrote to the ledger between the look at it and the event that was to follow."""

    def __init__(self, *, number: int, state: str) -> None:
        super().__init__(f"event {number} of the ledger was written by somebody else meanwhile; {state}")


class BrokenLedgerError(RegistryError):
    """The ledger's chain of digests does not hold."""

    def __init__(self, *, number: int, reason: str) -> None:
        super().__init__(f"event {number} of the ledger {reason}; expected an unbroken chain, nothing was changed")


class UnlistedFileError(RegistryError):
    """A bundle's folder holds a file that its manifest does not list."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: is not in the bundle's manifest; expected only the files that it lists")


class BundleAwayError(RegistryError):
    """A version's bundle is not whole here, and the model store does not give it."""

    def __init__(self, version: int, *, folder: Path, reason: str) -> None:
        super().__init__(f"version {version} is not whole in {folder} and can't be fetched: {reason}")


class GoldenCaseError(RegistryError):
    """A version does not answer its golden case as recorded."""

    def __init__(self, version: int | str, *, dice: float, expected: float) -> None:
        super().__init__(f"version {version}: golden case Dice is {dice:.4f}; expected at least {expected}")


class ReplicasBehindError(RegistryError):
    """A server does not answer with the version that an event put in use."""

    def __init__(self, *, event: int, version: int | None, reasons: Sequence[str], deadline_s: float) -> None:
        self.reasons = "; ".join(reasons)
        wanted = "no version" if version is None else f"version {version}"
        super().__init__(
            f"event {event} is not followed: {self.reasons}; expected every server to answer with {wanted} within"
            f" {deadline_s:g} s"
        )

    def then(self, outcome: str) -> Self:
        """Add what was done about it."""
        self.args = (f"{self}; {outcome}",)
        return self


class LostEventsError(RegistryError):
    """The ledger lacks an event that somebody has seen in it."""

    def __init__(self, message: str) -> None:
        super().__init__(f"{message}; expected the ledger to be restored before anything is changed or mended")


class EvidenceError(RegistryError):
    """A verdict, evaluation or policy doesn't belong to what it is shown for."""


class NoTrackingLibraryError(RegistryError):
    """MLflow's library is not installed, as in the image of a server, which needs none."""

    def __init__(self) -> None:
        super().__init__("MLflow: its library is not installed here; expected the image 'registry', or '.[registry]'")


class TrackingError(RegistryError):
    """MLflow's database or server can't be used."""

    def __init__(self, uri: str, *, reason: str, is_transient: bool = False) -> None:
        self.is_transient = is_transient
        super().__init__(f"MLflow at {uri}: {reason}; expected a database or server that answers")


class MlflowDiffersError(RegistryError):
    """MLflow's registered model differs from the ledger in a way that no command repairs."""

    def __init__(self, differences: Sequence[str]) -> None:
        super().__init__(
            f"{'; '.join(differences)}; expected MLflow's versions to be those of the ledger. Restore MLflow's database"
        )


class AliasesNotSetError(RegistryError):
    """MLflow's aliases could not be made to follow the ledger."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"MLflow's aliases were not set: {reason}")
