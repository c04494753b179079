"""Explicit label maps: which id of a data set is which vertebra of ours, and which anatomy has no label here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from spine.errors import LabelValueError, UnknownNameError
from spine.labels import IDS, MAX_LABEL, NAMES
from spine.volume.nifti import require_whole

_FOREIGN: Final = 255
UNNAMED: Final = ("L6", "T13", "sacrum", "coccyx")
"""Anatomy that data sets label and our 25 classes have no name for."""


@dataclass(frozen=True)
class LabelMap:
    """Ids of a data set: ``ids`` by ours, ``unnamed`` by the name of anatomy that is left out, ``others`` ignored."""

    name: str
    ids: Mapping[int, int]
    unnamed: Mapping[int, str] = field(default_factory=dict)
    others: frozenset[int] = frozenset()
    """Ids that the data set gives to organs other than the spine."""

    def described(self) -> dict[str, Any]:
        """Return the map as JSON, for the key of what was prepared with it."""
        return {"ids": dict(self.ids), "unnamed": dict(self.unnamed), "others": sorted(self.others)}

    def apply(self, array: NDArray[Any], *, path: Path) -> tuple[NDArray[np.uint8], dict[str, int]]:
        """Return ``array`` in our ids as uint8, and the voxels of each unnamed structure, which become background.

        Raises LabelValueError for values that are no whole numbers or not in the map.
        """
        require_whole(array, path=path)
        low, high = int(array.min(initial=0)), int(array.max(initial=0))
        known = self.ids.keys() | self.unnamed.keys() | self.others
        if low < 0 or high > max(known):
            raise self._foreign(low if low < 0 else high, path)
        table = np.full(high + 1, _FOREIGN, dtype=np.uint8)
        table[0] = 0
        for theirs in known:
            if theirs <= high:
                table[theirs] = self.ids.get(theirs, 0)
        left_out = {name: int(np.count_nonzero(array == theirs)) for theirs, name in self.unnamed.items()}
        left_out = {name: voxels for name, voxels in left_out.items() if voxels}
        if np.array_equal(table, np.arange(high + 1)):
            return array.astype(np.uint8, copy=False), left_out
        ours: NDArray[np.uint8] = table[array.astype(np.intp, copy=False) if array.dtype.kind == "f" else array]
        if ours.max(initial=0) == _FOREIGN:
            raise self._foreign(int(array[ours == _FOREIGN].flat[0]), path)
        return ours, left_out

    def _foreign(self, found: int, path: Path) -> LabelValueError:
        known = sorted(self.ids.keys() | self.unnamed.keys())
        expected = f"an id of the label map '{self.name}' (0, {_ranges(known)})"
        return LabelValueError(path, reason=f"label {found} found", value=found, expected=expected)


def _ranges(ids: list[int]) -> str:
    """Write sorted ids as ranges: ``1-24, 28``."""
    parts: list[list[int]] = []
    for number in ids:
        if parts and number == parts[-1][-1] + 1:
            parts[-1][1:] = [number]
        else:
            parts.append([number])
    return ", ".join("-".join(str(end) for end in part) for part in parts)


_TO_L5: Final = {number: number for number in range(1, IDS["S1"])}
OURS: Final = LabelMap(name="ours", ids={number: number for number in NAMES})
VERSE: Final = LabelMap(name="verse", ids=_TO_L5, unnamed={25: "L6", 26: "sacrum", 27: "coccyx", 28: "T13"})
CTSPINE1K: Final = LabelMap(name="ctspine1k", ids=_TO_L5, unnamed={25: "L6"})
TOTALSEGMENTATOR: Final = LabelMap(
    # Its 117 classes in one label map, version 2: S1 is 26, then upwards to C1, which is 50.
    name="totalsegmentator",
    ids={26 + step: MAX_LABEL - step for step in range(MAX_LABEL)},
    others=frozenset({*range(1, 26), *range(51, 118)}),
)
LABEL_MAPS: Final = {known.name: known for known in (OURS, VERSE, CTSPINE1K, TOTALSEGMENTATOR)}


def label_map(name: str) -> LabelMap:
    """Return a label map by name; raises UnknownNameError with those there are."""
    if name not in LABEL_MAPS:
        raise UnknownNameError("label map", name, accepted=sorted(LABEL_MAPS))
    return LABEL_MAPS[name]
