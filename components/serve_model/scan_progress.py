"""How far the work on one scan is, told by its worker, asked by whoever waits, and called off by either."""

from typing import Literal

from components.serve_model.errors import CancelledScanError

Stage = Literal["waiting", "reading", "predicting", "writing"]


class ScanProgress:
    """Written by one worker thread and read by others: each field is replaced at once."""

    def __init__(self) -> None:
        self.stage: Stage = "waiting"
        self.windows: tuple[int, int] | None = None
        """Windows of the network that are done, and of how many; None before the first."""
        self._is_cancelled = False

    def enter(self, stage: Stage) -> None:
        """Go on to a stage; raises CancelledScanError where the work was called off."""
        self._go_on()
        self.stage = stage

    def on_windows(self, done: int, of: int) -> None:
        """Take note of a batch of windows; raises CancelledScanError where the work was called off."""
        self._go_on()
        self.windows = (done, of)

    def cancel(self) -> None:
        """Call the work off: it ends at the next batch of windows."""
        self._is_cancelled = True

    def _go_on(self) -> None:
        if self._is_cancelled:
            raise CancelledScanError
