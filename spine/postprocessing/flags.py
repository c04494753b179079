"""What a reader is told to look at in each vertebra: the words, from the gravest to the mildest, and when they hold."""

from typing import Final

from spine.postprocessing.centre_line import PITCH_MM
from spine.postprocessing.instances import Instances

NOT_DECODED: Final = "not decoded"
"""The map holds more pieces than a spine has: no vertebrae were looked for, and every name is the network's."""
OFF_SPINE: Final = "off the spine"
"""It lies farther beside the line through the others than a vertebra can: it has no say and keeps its name."""
LIKELIER: Final = "another name likelier"
"""By the order of the spine it would have another name, which the settings don't let it have."""
REPEATED: Final = "repeated level"
"""Another vertebra has the same name."""
SKIPPED: Final = "skipped level"
"""The level between it and the next higher vertebra is named nowhere."""
WIDE: Final = "wide gap"
"""Its name follows the next higher vertebra's, but there is room for one more between both."""
LOW_MARGIN: Final = "low margin"
"""Another name is nearly as likely: it has the name that the network gave."""
RENAMED: Final = "renamed"
"""The network gave most of it another name."""
SPLIT: Final = "split name"
"""The network gave a good part of it another name than the rest."""
CUT: Final = "cut at the border"
"""It reaches the border of the scan, and only a part of it may be in view."""

FLAGS: Final = (NOT_DECODED, OFF_SPINE, LIKELIER, REPEATED, SKIPPED, WIDE, LOW_MARGIN, RENAMED, SPLIT, CUT)

_SPLIT_SHARE: Final = 0.9  # of a vertebra's voxels under its most common name
_WIDE_PITCHES: Final = 1.6  # right gaps are below 1.2 between whole vertebrae, two pitches with one missing


def flags_of(
    place: int, *, final: list[int], was: list[int], sure: bool, likelier: bool, share: float, instances: Instances
) -> tuple[str, ...]:
    """Return the flags of one vertebra by its place in the row, given the final names of all.

    ``sure`` says whether its margin suffices, ``likelier`` that a sure other name was not given to it, ``share``
    how much of it the network called by its most common name.
    """
    items = instances.items
    item, name = items[place], final[place]
    others = [number for number in range(len(items)) if number != place and not items[number].is_off_spine]
    whole = [number for number in others if not items[number].is_fragment]
    # What little the border leaves of a vertebra shows that its level is there, unless its name is out of order.
    above = [number for number in others if number < place and (number in whole or final[number] < name)]
    highest = max((final[number] for number in above), default=None)
    facts = {
        OFF_SPINE: item.is_off_spine,
        LIKELIER: likelier,
        REPEATED: not item.is_off_spine and name in _around(place, whole=whole, final=final),
        SKIPPED: not item.is_off_spine and highest is not None and name > highest + 1,
        WIDE: not item.is_off_spine and _is_wide(place, above=above, final=final, instances=instances),
        LOW_MARGIN: not sure,
        RENAMED: name != was[place],
        SPLIT: share < _SPLIT_SHARE,
        CUT: item.at_border,
    }
    return tuple(flag for flag in FLAGS if facts.get(flag))


def _around(place: int, *, whole: list[int], final: list[int]) -> tuple[int | None, int | None]:
    """Return the lowest name above and the highest name below."""
    above = max((final[number] for number in whole if number < place), default=None)
    below = min((final[number] for number in whole if number > place), default=None)
    return above, below


def _is_wide(place: int, *, above: list[int], final: list[int], instances: Instances) -> bool:
    if not above or final[place] != final[above[-1]] + 1:
        return False
    upper, lower = instances.items[above[-1]], instances.items[place]
    # Where the rest of what the border cuts would lie is no more than a guess.
    if upper.is_cut or lower.is_cut or upper.is_fragment or lower.is_fragment:
        return False
    expected_mm = float(PITCH_MM[final[above[-1]]]) * instances.scale
    return lower.position_mm - upper.position_mm > _WIDE_PITCHES * expected_mm
