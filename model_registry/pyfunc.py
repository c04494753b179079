"""A version as MLflow's python_function: a column of scans in, their masks and reports out."""

import base64
import binascii
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from model_registry.bundle import Bundle
from model_registry.models import load_segmenter, spacing_mm
from model_registry.pyfunc_columns import MASK, PATH, REPORT, SCAN
from model_registry.segmentation_report import report
from model_registry.training_distribution import training_distribution_of
from spine.errors import InvalidValueError
from spine.settings import settings
from spine.storage import strict_json
from spine.volume.input_limits import read_scan, require_fitting
from spine.volume.nifti import write_volume

if TYPE_CHECKING:
    import pandas as pd

_GZIP = b"\x1f\x8b"


def _load_pyfunc(folder: str) -> "ScanModel":
    """Load the model in a bundle's folder, as MLflow asks every loader module to."""
    return ScanModel(Bundle(Path(folder)))


class ScanModel:
    """A bundle in memory; every file of it had its recorded digest before any checkpoint was read."""

    def __init__(self, bundle: Bundle) -> None:
        bundle.verify(expected=bundle.digest)
        from spine.nnunet.segmentation import best_device

        self._bundle, self._training_distribution = bundle, training_distribution_of(bundle)
        self._segmenter = load_segmenter(bundle, device=best_device(), threads=settings().cpu_threads)

    def predict(self, scans: "pd.DataFrame", params: dict[str, Any] | None = None) -> "pd.DataFrame":  # noqa: ARG002
        """Label the scan of every row, which its ``scan`` holds or its ``path`` names.

        Returns a frame of as many rows with the columns ``mask`` and ``report``. Raises InvalidValueError for a row
        with neither or both, and what reading a volume raises.
        """
        import pandas as pd

        answers = [self._answer(row) for row in scans.to_dict("records")]
        return pd.DataFrame(answers, columns=[MASK, REPORT], index=scans.index)

    def _answer(self, row: Mapping[str, Any]) -> dict[str, str]:
        with tempfile.TemporaryDirectory() as folder:
            image = read_scan(_scan_file(row, below=Path(folder)))
            require_fitting(image.grid, spacing_mm=spacing_mm(self._bundle))
            decoded = self._segmenter.decode(image)
            mask = Path(folder) / "mask.nii.gz"
            write_volume(mask, decoded.labels)
            found = report(
                decoded,
                image,
                version=None,
                model_digest=self._bundle.digest,
                training_distribution=self._training_distribution,
            )
            answer = strict_json(found.model_dump(mode="json"))
            return {MASK: base64.b64encode(mask.read_bytes()).decode(), REPORT: answer}


def _scan_file(row: Mapping[str, Any], *, below: Path) -> Path:
    """Return the file of a row's scan; one that came as text is written to the folder ``below``."""
    given = {name: row[name] for name in (SCAN, PATH) if isinstance(row.get(name), str) and row[name]}
    if len(given) != 1:
        raise InvalidValueError("row", ", ".join(sorted(given)) or None, expected=f"either '{SCAN}' or '{PATH}'")
    if PATH in given:
        return Path(given[PATH])
    try:
        content = base64.b64decode(given[SCAN], validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidValueError(SCAN, given[SCAN][:20], expected="a NIfTI file in base64") from error
    file = below / ("scan.nii.gz" if content.startswith(_GZIP) else "scan.nii")
    file.write_bytes(content)
    return file
