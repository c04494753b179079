"""The 25 vertebrae: label ids, names, SNOMED CT codes and the regions that scores are reported by."""

from dataclasses import dataclass
from typing import Final

_CODES: Final = {
    "C1": "14806007", "C2": "39976000", "C3": "113205007", "C4": "5329002", "C5": "36978003",
    "C6": "36054005", "C7": "87391001", "T1": "64864005", "T2": "53733008", "T3": "1626008",
    "T4": "73071006", "T5": "56401006", "T6": "45296009", "T7": "62487009", "T8": "11068009",
    "T9": "82687006", "T10": "7610001", "T11": "12989004", "T12": "23215003", "L1": "66794005",
    "L2": "14293000", "L3": "36470004", "L4": "11994002", "L5": "49668003", "S1": "65985001",
}  # fmt: skip


@dataclass(frozen=True)
class Vertebra:
    """One vertebra: its label id in every mask of ours, its name and its SNOMED CT code."""

    id: int
    name: str
    snomed: str


VERTEBRAE: Final[tuple[Vertebra, ...]] = tuple(
    Vertebra(id=number, name=name, snomed=code) for number, (name, code) in enumerate(_CODES.items(), start=1)
)
NAMES: Final[dict[int, str]] = {vertebra.id: vertebra.name for vertebra in VERTEBRAE}
IDS: Final[dict[str, int]] = {vertebra.name: vertebra.id for vertebra in VERTEBRAE}
MAX_LABEL: Final = 25

REGIONS: Final[dict[str, tuple[int, ...]]] = {
    "C1-C4": (1, 2, 3, 4),
    "C5-C7": (5, 6, 7),
    "T1-T4": (8, 9, 10, 11),
    "T5-T9": (12, 13, 14, 15, 16),
    "T10-T12": (17, 18, 19),
    "L1-L5": (20, 21, 22, 23, 24),
    "S1": (25,),
}


def region_of(label: int) -> str:
    """Return the region that a label id of 1-25 belongs to."""
    return next(region for region, labels in REGIONS.items() if label in labels)
