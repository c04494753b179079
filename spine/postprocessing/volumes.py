"""Whether a vertebra's volume can be right: for its level, and for a vertebra between those that it has beside it."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from spine.labels import IDS
from spine.postprocessing.instances import Instances

VOLUME_MM3: Final[NDArray[np.float64]] = np.array(
    [
        0.0, 14700, 19600, 13300, 12900, 13600, 14800, 19300, 23000, 23200, 21800, 23800, 24600,
        26100, 28900, 31000, 34200, 38000, 40900, 47200, 52500, 56800, 62400, 62800, 60300, 45800,
    ]
)  # fmt: skip
"""By label, the median volume in mm³ of a whole vertebra, arch and processes included.

Of 26 to 106 vertebrae a level, two levels or more from either end of what is in view, in the reference masks of 175
real scans of *Spine Segmentation from CT Scans* (voxels of 1.5 mm; nnU-Net's evaluation of them, MIT). Cadavers'
bodies alone (Panjabi et al. 1991 and 1992) grow alike from the neck to the loin.
"""

LEVEL_SHARES: Final = (0.15, 2.2)
"""Of the level's median, for one by itself: from a small child's to the largest of 1662 real ones, 2.17."""
NEIGHBOUR_SHARES: Final = (0.55, 1.6)
"""Of what its neighbours let expect, in any patient: 99 of 100 real ones lie within, half a vertebra or two do not."""
_NEIGHBOURS: Final = 2  # on either side
_SACRUM: Final = IDS["S1"]
SACRUM_SHARES: Final = (0.15, 5.0)
"""How much of the sacrum belongs to S1 is a convention: all of it has room, and it is compared with no vertebra."""


def implausible(instances: Instances, *, names: list[int]) -> list[bool]:
    """Say of each of n vertebrae, by their n names, whether its volume can't be that of one whole vertebra.

    What reaches a face of the scan, or lies off the spine, is not judged, and no other vertebra is compared with it.
    With fewer than two others to compare it with a vertebra is held to its level's range alone.
    """
    items = instances.items
    shares = [item.mm3 / VOLUME_MM3[name] for item, name in zip(items, names, strict=True)]
    whole = [place for place, item in enumerate(items) if not (item.at_border or item.is_off_spine)]
    row = [place for place in whole if names[place] != _SACRUM]
    found = [False] * len(items)
    for place in whole:
        found[place] = _is_beyond(shares[place], SACRUM_SHARES if names[place] == _SACRUM else LEVEL_SHARES)
        around = [other for other in row if other < place][-_NEIGHBOURS:]
        around += [other for other in row if other > place][:_NEIGHBOURS]
        if place in row and len(around) > 1:
            expected = float(np.median([shares[other] for other in around]))
            found[place] |= _is_beyond(shares[place] / expected, NEIGHBOUR_SHARES)
    return found


def _is_beyond(share: float, limits: tuple[float, float]) -> bool:
    return bool(share < limits[0] or share > limits[1])
