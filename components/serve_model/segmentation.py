"""One scan's work on a worker thread: read the upload, predict, write mask and report beside it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from components.serve_model.engine import LiveModel
from components.serve_model.errors import (
    CancelledScanError,
    PredictionFailedError,
    ShortOfMemoryError,
    StorageError,
    WithdrawnModelError,
)
from components.serve_model.scan_progress import ScanProgress
from components.serve_model.scans import ScanHeader, read_scan
from components.serve_model.telemetry import Telemetry
from model_registry.segmentation_report import SegmentationReport, report
from spine.errors import OutOfSpaceError
from spine.log_lines import about
from spine.postprocessing.decoding import Decoded
from spine.storage import strict_json
from spine.volume.nifti import Volume, nifti_bytes

_LOG = logging.getLogger(__name__)
_MEMORY_PAUSE_S = 30
_MASK, _REPORT = "mask.nii.gz", "report.json"


@dataclass(frozen=True)
class Outcome:
    """What is made of a scan: two files."""

    mask: Path
    """``.nii.gz`` of uint8 labels on the scan's own grid."""
    report: Path
    """A SegmentationReport as JSON."""

    @property
    def size_bytes(self) -> int:
        """Bytes that both take on disk."""
        return self.mask.stat().st_size + self.report.stat().st_size

    def moved_to(self, folder: Path) -> "Outcome":
        """Move both to a folder on the same disk."""
        return Outcome(mask=self.mask.replace(folder / _MASK), report=self.report.replace(folder / _REPORT))


def memory_bytes(header: ScanHeader, *, model: LiveModel) -> int:
    """Estimate the peak of memory that the work on a scan takes, beside the models that are held anyway.

    The scan stays in memory as float32; on top of it come, one after the other, reading it (float64 where its numbers
    are scaled, and a test for each being finite), the prediction, and the mask with its copies while it is packed.
    """
    reading = (9 if header.is_wide else 1) * header.voxels
    writing = 6 * header.voxels
    return max(4 * header.voxels + max(reading, writing), model.memory_bytes(header.grid))


def segmentation(
    *,
    model: LiveModel,
    folder: Path,
    upload: Path,
    header: ScanHeader,
    telemetry: Telemetry,
    progress: ScanProgress,
) -> Outcome:
    """Write an uploaded scan's mask and report to ``folder``, the scan's own; raises ServeError."""
    with about(version=model.version), _client_message():
        progress.enter("reading")
        with telemetry.stage("read"):
            scan = read_scan(upload, header, folder=folder)
        progress.enter("predicting")
        with telemetry.stage("predict"):
            decoded = _decoded(model, scan, progress)
        progress.enter("writing")
        with telemetry.stage("write"):
            described = report(
                decoded,
                scan,
                version=model.version,
                model_digest=model.digest,
                training_distribution=model.training_distribution,
            )
            outcome = _written(decoded, described, folder=folder)
        telemetry.segmented(described)
        return outcome


@contextmanager
def _client_message() -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        # What never fits was refused before: others took what this scan was promised.
        _LOG.exception("a scan did not fit into memory")
        raise ShortOfMemoryError(retry_after_s=_MEMORY_PAUSE_S) from error
    except (OSError, OutOfSpaceError) as error:
        _LOG.exception("a scan could not be stored")
        raise StorageError from error


def _decoded(model: LiveModel, scan: Volume, progress: ScanProgress) -> Decoded:
    _require_served(model)
    try:
        decoded = model.decode(scan, on_progress=progress.on_windows)
    except (MemoryError, CancelledScanError):
        raise
    except Exception as error:
        if "allocate memory" in str(error) or type(error).__name__ == "OutOfMemoryError":
            raise MemoryError from error  # torch has words of its own for it
        # Whatever a network does with an odd scan, the worker goes on with the next one.
        _LOG.exception("version %d failed on a scan of shape %s", model.version, scan.grid.shape)
        raise PredictionFailedError(version=model.version) from error
    _require_served(model)
    return decoded


def _require_served(model: LiveModel) -> None:
    if model.is_withdrawn:
        raise WithdrawnModelError(version=model.version)


def _written(decoded: Decoded, described: SegmentationReport, *, folder: Path) -> Outcome:
    outcome = Outcome(mask=folder / _MASK, report=folder / _REPORT)
    outcome.report.write_text(strict_json(described.model_dump(mode="json")), encoding="utf-8")
    # Nothing here outlives the server: no file needs to reach the disk, or to appear whole.
    outcome.mask.write_bytes(nifti_bytes(decoded.labels, is_packed=True))
    return outcome
