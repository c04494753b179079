"""What is known of pieces of bone without their voxels, and the same of pieces joined into vertebrae."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import MAX_LABEL

FRAGMENT_MM3: Final = 500 * 1.5**3
"""What remains of a vertebra at the border, and what breaks off one, has mostly less: 500 voxels at 1.5 mm."""

_SOLID_SHARE: Final = 0.3
_CRUMB_SHARE: Final = 0.25  # of the median name's largest piece: small patients have small vertebrae


@dataclass(frozen=True, eq=False)
class Outlines:
    """n bodies of bone: names (n,) as most of their voxels have it, sizes, and places in RAS+ mm.

    ``top_mm`` and ``bottom_mm`` (n,) are the highest and the lowest voxel centre. ``cut_above`` and ``cut_below``
    mark what reaches the uppermost and the lowermost face of the volume, ``at_border`` what reaches any face.
    """

    labels: NDArray[np.uint8]
    voxels: NDArray[np.int64]
    mm3: NDArray[np.float64]
    centroids_mm: NDArray[np.float64]
    top_mm: NDArray[np.float64]
    bottom_mm: NDArray[np.float64]
    at_border: NDArray[np.bool_]
    cut_above: NDArray[np.bool_]
    cut_below: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.labels)

    def some(self, which: NDArray[np.intp] | NDArray[np.bool_]) -> "Outlines":
        """Return some of the bodies, in the order of ``which``."""
        return Outlines(**{name: getattr(self, name)[which] for name in self.__dataclass_fields__})

    def joined(self, owners: NDArray[np.intp]) -> "Outlines":
        """Return one body for each number 0..k-1 in ``owners`` (n,), all of which occur."""
        count = int(owners.max(initial=-1)) + 1
        votes = np.zeros((count, MAX_LABEL + 1), dtype=np.int64)
        np.add.at(votes, (owners, self.labels), self.voxels)
        mm3 = np.bincount(owners, weights=self.mm3, minlength=count)
        moments = [np.bincount(owners, weights=self.mm3 * axis, minlength=count) for axis in self.centroids_mm.T]
        largest = np.zeros(count)
        np.maximum.at(largest, owners, self.mm3)
        # Crumbs lie anywhere; what they reach says nothing of where the vertebra is.
        solid = self.mm3 >= _SOLID_SHARE * largest[owners]
        top, bottom = np.full(count, -np.inf), np.full(count, np.inf)
        np.maximum.at(top, owners[solid], self.top_mm[solid])
        np.minimum.at(bottom, owners[solid], self.bottom_mm[solid])
        border = np.bincount(owners, weights=self.at_border, minlength=count) > 0
        above, below = (
            np.bincount(owners, weights=flag & solid, minlength=count) > 0 for flag in (self.cut_above, self.cut_below)
        )
        return Outlines(
            labels=votes.argmax(axis=1).astype(np.uint8),
            voxels=votes.sum(axis=1),
            mm3=np.asarray(mm3, dtype=np.float64),
            centroids_mm=np.stack(moments, axis=1) / mm3[:, None],
            top_mm=top,
            bottom_mm=bottom,
            at_border=border,
            cut_above=above,
            cut_below=below,
        )


def seeds_of(outlines: Outlines) -> NDArray[np.intp]:
    """Return the pieces that can be a vertebra, largest first: large ones, and what the border leaves of a name."""
    order = np.lexsort((np.arange(len(outlines)), -outlines.voxels))
    _, first = np.unique(outlines.labels[order], return_index=True)
    main = np.zeros(len(outlines), dtype=np.bool_)
    main[order[first]] = True
    limit = min(FRAGMENT_MM3, _CRUMB_SHARE * float(np.median(outlines.mm3[main])))
    seed = (outlines.mm3 >= limit) | (main & (outlines.cut_above | outlines.cut_below))
    return np.asarray(order[seed[order]], dtype=np.intp)
