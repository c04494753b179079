"""Raw masks of a model, a case a file with its evidence beside it: what was made once is never made again."""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from spine.dataset import Case, image_path
from spine.errors import DigestMismatchError, InvalidValueError, MalformedFileError, OutOfSpaceError, SpinelineError
from spine.postprocessing.instances import Instances
from spine.postprocessing.label_scores import Evidence
from spine.storage import read_json, write_json, write_text
from spine.volume.nifti import Volume, read_image, write_volume

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter

_TRIES = 3
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predictions:
    """A folder of raw masks, as the network made them."""

    folder: Path
    keep_logits: bool = False

    def mask(self, case: str) -> Path:
        """Return where a case's mask lies, if it was made."""
        return self.folder / f"{case}.nii.gz"

    def evidence(self, case: str) -> Path:
        """Return where it is kept what the network says of each vertebra of a mask."""
        return self.folder / f"{case}.evidence.json"

    def read_evidence(self, case: str, *, mask: Volume, instances: Instances) -> NDArray[np.float64]:
        """Return what is kept beside a mask, shape (n, 25) for its n vertebrae.

        Raises MissingPathError or MalformedFileError, as for evidence of another mask or another release's vertebrae.
        """
        path, expected = self.evidence(case), "evidence of this mask (remove it to have the case predicted again)"
        try:
            return Evidence.parse(read_json(path, expected=expected), where=path).matrix(mask, instances=instances)
        except (InvalidValueError, DigestMismatchError) as error:
            raise MalformedFileError(path, reason=str(error), expected=expected) from error

    def make(
        self, cases: Sequence[Case], *, dataset: Path, load: Callable[[], "Segmenter"], on_case: Callable[[str], None]
    ) -> None:
        """Predict the cases that were not yet; ``load`` is called where there is one.

        A case that can't be predicted is told in the log and left without a mask: it scores 0. So is one at which
        this process died for the third time.
        """
        segmenter: Segmenter | None = None
        for case in cases:
            if not self._is_made(case.case) and not self._is_given_up(case.case):
                segmenter = segmenter or load()
                self._predict(segmenter, case, dataset)
            on_case(case.case)

    def _is_made(self, case: str) -> bool:
        return self.mask(case).is_file() and self.evidence(case).is_file()

    def _predict(self, segmenter: "Segmenter", case: Case, dataset: Path) -> None:
        from spine.nnunet.probabilities import SUFFIX

        try:
            with self._attempt(case.case):
                made = segmenter.predict(read_image(image_path(dataset, case)))
                if self.keep_logits:
                    made.probabilities.write(self.folder / f"{case.case}{SUFFIX}")
                write_json(self.evidence(case.case), made.evidence().model_dump(mode="json"))
                write_volume(self.mask(case.case), made.labels)
        except OutOfSpaceError:
            raise
        except (RuntimeError, ValueError, MemoryError, SpinelineError):
            _LOG.exception("prediction of %s failed; it scores 0", case.case)

    def _is_given_up(self, case: str) -> bool:
        tries = self._tries(case)
        if tries >= _TRIES:
            message = "%s ended this step %d times; it scores 0 (remove %s to try again)"
            _LOG.error(message, case, tries, self._mark(case))
        return tries >= _TRIES

    @contextmanager
    def _attempt(self, case: str) -> Iterator[None]:
        """Leave a mark that outlives this process alone: where memory runs out, there is nobody to tell."""
        write_text(self._mark(case), f"{self._tries(case) + 1}\n")
        try:
            yield
        finally:
            self._mark(case).unlink(missing_ok=True)

    def _tries(self, case: str) -> int:
        try:
            return int(self._mark(case).read_text(encoding="ascii"))
        except (OSError, ValueError):
            return 0

    def _mark(self, case: str) -> Path:
        return self.folder / f"{case}.tried"
