"""Every condition that the registry refuses with."""

from spine.errors import SpinelineError


class RegistryError(SpinelineError):
    """The root of the registry's errors."""


class NotPromotableError(RegistryError):
    """A version's state does not allow what was asked of it."""

    def __init__(self, version: int, *, state: str, wanted: str, expected: str) -> None:
        super().__init__(f"version {version} is {state} and can't be {wanted}; expected {expected}")


class ConflictError(RegistryError):
    """Somebody else wrote the next event of the ledger first."""

    def __init__(self, *, number: int, state: str) -> None:
        super().__init__(f"event {number} of the ledger was written by somebody else meanwhile; {state}")


class BrokenLedgerError(RegistryError):
    """The ledger's chain of digests does not hold."""

    def __init__(self, *, number: int, reason: str) -> None:
        super().__init__(f"event {number} of the ledger {reason}; expected an unbroken chain, nothing was changed")


class GoldenCaseError(RegistryError):
    """A version does not answer its golden case as recorded."""

    def __init__(self, version: int | str, *, dice: float, expected: float) -> None:
        super().__init__(f"version {version}: golden case Dice is {dice:.4f}; expected at least {expected}")


class EvidenceError(RegistryError):
    """A verdict, evaluation or policy doesn't belong to what it is shown for."""


class TrackingError(RegistryError):
    """MLflow's database or server can't be used."""

    def __init__(self, uri: str, *, reason: str) -> None:
        super().__init__(f"MLflow at {uri}: {reason}; expected a database or server that answers")
