"""Why a case can't be used: an error with the name of the check and its number, caught where cases are checked."""

from spine.errors import SpinelineError


class RejectedCaseError(SpinelineError):
    """A case fails a rejecting check."""

    def __init__(self, check: str, *, value: float, message: str) -> None:
        self.check, self.value = check, value
        super().__init__(message)
