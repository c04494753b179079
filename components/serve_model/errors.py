"""Every condition that the server refuses with: one root that carries the HTTP status, one class a condition."""

from spine.errors import SpinelineError


class ServeError(SpinelineError):
    """The root of the server's errors; its message goes to the client, so it never names a path of the server."""

    status = 500
    retry_after_s: int | None = None


class UnreadableScanError(ServeError):
    """The upload is no whole NIfTI file."""

    status = 400

    def __init__(self, reason: str) -> None:
        super().__init__(f"the upload {reason}; expected one whole NIfTI file (.nii or .nii.gz)")


class UnsuitableScanError(ServeError):
    """The upload is a NIfTI file, but no CT volume that can be segmented."""

    status = 422

    def __init__(self, reason: str, *, expected: str) -> None:
        super().__init__(f"the scan {reason}; expected {expected}")


class StalledUploadError(ServeError):
    """The client stopped sending before its upload was whole."""

    status = 408

    def __init__(self, pause_s: float) -> None:
        super().__init__(f"nothing of the upload came for {pause_s:g} s; expected the rest of it")


class TooLargeError(ServeError):
    """The upload, or the scan in it, is larger than this server accepts."""

    status = 413

    def __init__(self, what: str, *, limit: str) -> None:
        super().__init__(f"{what}; expected at most {limit}")


class NoModelError(ServeError):
    """No version is loaded: none was promoted yet, or the first one is being loaded."""

    status = 503
    retry_after_s = 5

    def __init__(self) -> None:
        super().__init__("no model version is loaded; expected one that was promoted")


class BusyError(ServeError):
    """As many scans wait as this server lets wait."""

    status = 503
    retry_after_s = 30

    def __init__(self, *, waiting: int) -> None:
        super().__init__(f"{waiting} scans are waiting already; expected another try later")


class PredictionFailedError(ServeError):
    """The model failed on this scan; the server goes on."""

    def __init__(self, *, version: int) -> None:
        super().__init__(f"version {version} failed on this scan; the server's log has the reason")


class StorageError(ServeError):
    """The server's disk refused the upload."""

    status = 507

    def __init__(self) -> None:
        super().__init__("the server can't store this upload now; expected free space on its disk")


class ListenError(ServeError):
    """The address to listen on can't be had; told on the command line, not over HTTP."""

    def __init__(self, host: str, port: int, *, reason: str) -> None:
        super().__init__(f"port {port} on {host}: {reason}; expected a free one, choose another with --port")


class LedgerError(ServeError):
    """The ledger contradicts what this server has read in it before."""
