"""What is waited out while a connection is lost: which answers, how often, and for how long."""

import time
from dataclasses import dataclass

from pipelines.cluster.errors import (
    ClusterError,
    ConnectionLostError,
    NotSignedInError,
    ServerFaultError,
    WrongEndpointError,
)

FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
_LOST = (ConnectionLostError, ServerFaultError)
_ODD = (WrongEndpointError, NotSignedInError)


@dataclass(frozen=True)
class Patience:
    """For how long what may pass is waited out."""

    lost_s: float
    """Seconds without an answer."""
    odd_s: float = 0.0
    """Seconds in a row in which something else answers: a page of maintenance, a gateway that reads its rules again,
    a token that is being renewed. To be had once the right thing has answered."""


class Backoff:
    """The waits of one thing that is tried again and again; each is longer than the one before."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._started = time.monotonic()
        self._odd_since: float | None = None
        self._next_s = FIRST_WAIT_S
        self.count = 0
        self.lost_in_a_row = 0

    def after(self, error: ClusterError) -> float | None:
        """Return how many seconds to wait after ``error``; None where it is to be raised."""
        self.lost_in_a_row = self.lost_in_a_row + 1 if isinstance(error, ConnectionLostError) else 0
        wait_s, self._next_s = self._next_s, min(2 * self._next_s, LONGEST_WAIT_S)
        self.count += 1
        return wait_s if time.monotonic() + wait_s <= self._deadline(error) else None

    def _deadline(self, error: ClusterError) -> float:
        if isinstance(error, _ODD):
            self._odd_since = time.monotonic() if self._odd_since is None else self._odd_since
            return self._odd_since + self._patience.odd_s
        self._odd_since = None
        return self._started + (self._patience.lost_s if isinstance(error, _LOST) else 0.0)
