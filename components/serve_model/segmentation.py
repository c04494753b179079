"""One request's work on the worker thread: read the upload, predict, write the answer."""

import logging
from dataclasses import dataclass
from pathlib import Path

from components.serve_model.engine import LiveModel
from components.serve_model.errors import PredictionFailedError, StorageError, TooLargeError
from components.serve_model.limits import Limits
from components.serve_model.scans import read_scan, require_servable
from components.serve_model.telemetry import Telemetry
from components.serve_model.vertebrae import report
from spine.errors import OutOfSpaceError
from spine.storage import strict_json
from spine.volume.nifti import Volume, write_volume

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Answer:
    """The bytes of an answer and what they are."""

    content: bytes
    media_type: str


def segmentation(
    *, model: LiveModel, folder: Path, upload: Path, as_json: bool, limits: Limits, telemetry: Telemetry
) -> Answer:
    """Return the mask of an uploaded scan on its own grid, as ``.nii.gz`` or described as JSON.

    ``folder`` is the request's own; raises ServeError.
    """
    try:
        with telemetry.stage("read"):
            scan = read_scan(upload, folder=folder, max_voxels=limits.voxels)
            require_servable(scan.grid, spacing_mm=model.spacing_mm, max_voxels=limits.voxels)
        with telemetry.stage("predict"):
            mask = _predicted(model, scan)
        with telemetry.stage("write"):
            return _json(mask, model) if as_json else _nifti(mask, folder)
    except MemoryError as error:
        _LOG.exception("a scan did not fit into memory")
        raise TooLargeError("the scan does not fit into this server's memory", limit="what its memory holds") from error
    except (OSError, OutOfSpaceError) as error:
        _LOG.exception("a scan could not be stored")
        raise StorageError from error


def _predicted(model: LiveModel, scan: Volume) -> Volume:
    try:
        return model.segment(scan)
    except MemoryError:
        raise
    except Exception as error:
        # Whatever a network does with an odd scan, the worker goes on with the next one.
        _LOG.exception("version %d failed on a scan of shape %s", model.version, scan.grid.shape)
        raise PredictionFailedError(version=model.version) from error


def _nifti(mask: Volume, folder: Path) -> Answer:
    path = folder / "mask.nii.gz"
    write_volume(path, mask)
    return Answer(content=path.read_bytes(), media_type="application/gzip")


def _json(mask: Volume, model: LiveModel) -> Answer:
    described = report(mask, version=model.version, model_digest=model.digest)
    return Answer(content=strict_json(described.model_dump(mode="json")).encode(), media_type="application/json")
