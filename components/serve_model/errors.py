"""Every condition that the server refuses with: one root that carries the HTTP status, one class a condition."""

from spine.errors import SpinelineError


class ServeError(SpinelineError):
    """The root of the server's errors; its message goes to the client, so it never names a path of the server."""

    status = 500
    retry_after_s: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries beside its message."""
        return {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}


class UnauthenticatedError(ServeError):
    """Missing, unknown or expired token; the response does not say which."""

    status = 401

    @property
    def headers(self) -> dict[str, str]:
        """Headers that the answer carries beside its message."""
        return {"WWW-Authenticate": "Bearer"}

    def __init__(self) -> None:
        super().__init__("no valid token; expected the header 'Authorization: Bearer TOKEN'")


class ForbiddenError(ServeError):
    """The caller is known, but the role is too low for what was asked."""

    status = 403

    def __init__(self, role: str) -> None:
        super().__init__(f"this caller may not do that; expected a token of role '{role}' or higher")


class ChangeUnderWayError(ServeError):
    """A change of the same kind is being made by this server."""

    status = 409
    retry_after_s = 5

    def __init__(self, kind: str) -> None:
        super().__init__(f"another {kind} is under way; expected another try when it has ended")


class MalformedChangeError(ServeError):
    """The body of a change is not what the route takes."""

    status = 422


class RefusedChangeError(ServeError):
    """The registry refused; its message was freed of paths."""

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message)
        self.status = status


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

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; expected the rest of it")


class TooLargeError(ServeError):
    """The upload, or the scan in it, is larger than this server accepts."""

    status = 413

    def __init__(self, what: str, *, limit: str) -> None:
        super().__init__(f"{what}; expected at most {limit}")


class NoModelError(ServeError):
    """No version is loaded: none was promoted yet, or the first one is being loaded."""

    status = 503
    retry_after_s = 5

    def __init__(self, *, wanted: int | None, has_failed: bool) -> None:
        if wanted is None:
            super().__init__("no model version is loaded; expected one that was promoted")
        elif has_failed:
            super().__init__(f"version {wanted} failed to load; expected another try once /v1/model says no failure")
        else:
            super().__init__(f"version {wanted} is being loaded; expected another try in {self.retry_after_s} s")


class BusyError(ServeError):
    """As many scans wait as this server lets wait."""

    status = 503

    def __init__(self, *, waiting: int, retry_after_s: int) -> None:
        super().__init__(f"{waiting} scans are waiting already; expected another try in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class TooManyUploadsError(ServeError):
    """One caller sends more scans at the same time than this server lets one send."""

    status = 429
    retry_after_s = 5

    def __init__(self, *, most: int) -> None:
        super().__init__(f"{most} uploads of this caller are on their way already; expected one of them to end first")


class ShortOfMemoryError(ServeError):
    """A scan that fits into this server's memory does not at the moment: others took some of it."""

    status = 503

    def __init__(self, *, retry_after_s: int) -> None:
        super().__init__(f"the server is short of memory; expected another try in {retry_after_s} s")
        self.retry_after_s = retry_after_s


class FullError(ServeError):
    """The uploads that are being worked on fill the disk room that this server may use."""

    status = 503
    retry_after_s = 30

    def __init__(self) -> None:
        super().__init__("the uploads that wait fill the server's disk room; expected another try later")


class WithdrawnModelError(ServeError):
    """The version that a scan was to be segmented with was revoked meanwhile."""

    status = 503
    retry_after_s = 1

    def __init__(self, *, version: int) -> None:
        super().__init__(f"version {version} was revoked meanwhile; expected another try with the version in use")


class CancelledScanError(ServeError):
    """Nobody waits for this scan any more: its job was cancelled, its client is gone, or the server stops."""

    status = 503
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("the work on this scan was cancelled; expected another try where it is still wanted")


class DrainingError(ServeError):
    """Replaced models still finish requests, so that another one may not fit; told to the watcher, not over HTTP."""

    def __init__(self, version: int, *, draining: int) -> None:
        super().__init__(
            f"version {version}: {draining} replaced models still finish requests; expected them to be done"
        )


class UnknownJobError(ServeError):
    """No job of that name that this caller may see."""

    status = 404

    def __init__(self) -> None:
        super().__init__("no such job; expected one of your own that was not deleted, since the server was started")


class ExpiredJobError(ServeError):
    """A job whose results are no longer kept."""

    status = 410

    def __init__(self) -> None:
        super().__init__("this job's results are no longer kept; expected the scan to be sent again")


class JobNotDoneError(ServeError):
    """The result of a job that has none, or none yet."""

    status = 409

    def __init__(self, state: str) -> None:
        super().__init__(f"this job is {state}; expected one that is done")


class MalformedInvocationError(ServeError):
    """The body of ``/invocations`` follows no form of MLflow's scoring contract that is served here."""

    status = 400

    def __init__(self, reason: str, *, expected: str) -> None:
        super().__init__(f"the body {reason}; expected {expected}")


class InvocationError(ServeError):
    """One scan of an invocation was refused, or failed, and with it all."""

    def __init__(self, error: ServeError, *, row: int) -> None:
        super().__init__(f"row {row}: {error}")
        self.status, self.retry_after_s = error.status, error.retry_after_s


class UnsupportedMediaError(ServeError):
    """``/invocations`` in another format than JSON."""

    status = 415

    def __init__(self) -> None:
        super().__init__("the body's type is not served; expected application/json")


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


class UnprotectedError(ServeError):
    """Others than this machine would reach the server, and nobody is asked for a token; told on the command line."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"host is '{host}', which others reach, without tokens; expected SPINELINE_TOKENS (see `spineline token"
            " --help`), or --without-tokens to let everybody read"
        )
