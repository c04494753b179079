"""nnU-Net's sliding window for several scans at once, whose windows share batches and whose networks stay in memory."""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.helpers import empty_cache

from spine.nnunet.scan_windows import ScanWindows, Window

OnProgress = Callable[[int, int], None]
"""Told in the caller's own thread how many windows of its scan are done, of how many; may raise to give it up."""

_Batch = list[tuple[ScanWindows, Window]]


class Windows:
    """Runs the windows of all scans under way, in turns, by one network a fold whose answers are averaged.

    It has no thread of its own (flat combining): of the callers that wait, one runs the next batch for all, then
    another may. A batch takes one window of each scan in turn, so that a short scan doesn't wait for a long one.
    """

    def __init__(
        self, predictors: Sequence[nnUNetPredictor], *, batch: int, turn: AbstractContextManager[None] | None = None
    ) -> None:
        """Take one initialized predictor a fold; ``turn`` is entered around each batch of ``batch`` windows."""
        self._predictors, self._batch = predictors, batch
        self._turn = nullcontext() if turn is None else turn
        self._device: torch.device = predictors[0].device
        self._changed = threading.Condition()
        self._is_running = False
        self._waiting: deque[ScanWindows] = deque()
        """Scans with windows left to run, the next one first."""

    @torch.inference_mode()
    def logits(self, data: torch.Tensor, *, on_progress: OnProgress | None = None) -> torch.Tensor:
        """Return logits (classes, k, j, i), fp16 on the CPU, of a preprocessed scan (c, k, j, i).

        They are those of nnU-Net's ``predict_logits_from_preprocessed_data``, to the bit on a CPU with one fold; of
        several folds each window's mean is rounded once, where nnU-Net rounds each fold's sums.
        Callable from several threads at once. Raises what the network raises of this scan's windows, what
        ``on_progress`` raises, and NetworkOutputError.
        """
        scan = ScanWindows(data, predictor=self._predictors[0])
        with self._changed:
            self._waiting.append(scan)
        try:
            self._see_through(scan, on_progress or _no_progress)
        finally:
            with self._changed:
                if scan in self._waiting:
                    self._waiting.remove(scan)
        return scan.logits()

    def _see_through(self, scan: ScanWindows, on_progress: OnProgress) -> None:
        message = 0
        on_progress(message, scan.total)
        while not scan.is_over:
            if self._is_ours_to_run(scan, message):
                self._run_next()
            if scan.done > message:
                message = scan.done
                on_progress(message, scan.total)
        if scan.failure is not None:
            raise scan.failure

    def _is_ours_to_run(self, scan: ScanWindows, message: int) -> bool:
        """Wait until there is news of a scan, or nobody runs a batch: then claim the next one."""
        with self._changed:
            self._changed.wait_for(lambda: scan.is_over or scan.done > message or not self._is_running)
            if scan.is_over or scan.done > message:
                return False
            self._is_running = True
            return True

    def _run_next(self) -> None:
        try:
            with self._turn:
                self._run(self._next_batch())
        finally:
            with self._changed:
                self._is_running = False
                self._changed.notify_all()

    def _next_batch(self) -> _Batch:
        batch: _Batch = []
        with self._changed:
            while self._waiting and len(batch) < self._batch:
                scan = self._waiting.popleft()
                batch.append((scan, scan.pending.popleft()))
                if scan.pending:
                    self._waiting.append(scan)
        return batch

    def _run(self, batch: _Batch) -> None:
        """Run a batch; where it fails, more sparingly, and one by one, so that a scan fails by its own windows only."""
        failure = self._attempt(batch)
        if failure is None:
            return
        is_out_of_memory = isinstance(failure, torch.OutOfMemoryError)
        if is_out_of_memory and self._make_room(batch):
            self._run(batch)
        elif len(batch) > 1:
            self._batch = 1 if is_out_of_memory else self._batch
            for one in batch:
                self._run([one])
        else:
            self._fail(batch, failure)

    def _attempt(self, batch: _Batch) -> Exception | None:
        """Run a batch and add up what came of it; return why it could not be run."""
        try:
            outputs = self._outputs(batch)
            for (scan, window), output in zip(batch, outputs, strict=True):
                self._add(scan, window, output)
        except torch.OutOfMemoryError as error:
            # The frames of its traceback hold the tensors that there is no room for.
            return error.with_traceback(None)
        except Exception as error:  # it belongs to the callers whose windows these are
            return error
        except BaseException as error:  # such as the interrupt of a program: nobody must wait for these windows
            self._fail(batch, error)
            raise
        return None

    def _add(self, scan: ScanWindows, window: Window, output: torch.Tensor) -> None:
        try:
            scan.add(window, output)
        except Exception as error:  # half of it may be added, so that it can't be tried again
            self._fail([(scan, window)], error)

    def _outputs(self, batch: _Batch) -> torch.Tensor:
        """Return the mean of the folds' logits for each window, float32 on the network's device."""
        voxels = torch.stack([scan.cut(window, device=self._device) for scan, window in batch])
        # As nnU-Net does: half precision on GPUs only.
        with torch.autocast("cuda") if self._device.type == "cuda" else nullcontext():
            first, *others = self._predictors
            mean: torch.Tensor = first._internal_maybe_mirror_and_predict(voxels).float()
            for predictor in others:
                mean += predictor._internal_maybe_mirror_and_predict(voxels)
        return mean.div_(len(self._predictors)) if others else mean

    def _make_room(self, batch: _Batch) -> bool:
        with self._changed:
            scans = {*self._waiting, *(scan for scan, _ in batch)}
        moved = [scan.make_room() for scan in scans]
        empty_cache(self._device)
        return any(moved)

    def _fail(self, batch: _Batch, failure: BaseException) -> None:
        with self._changed:
            for scan, _ in batch:
                scan.failure = failure
                if scan in self._waiting:
                    self._waiting.remove(scan)


def _no_progress(_done: int, _total: int) -> None:
    """Progress that nobody asked for."""
