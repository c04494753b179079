"""What a reader is told to look at in each vertebra: the words, from the gravest to the mildest, and when they hold."""

from typing import TYPE_CHECKING, Final

from spine.postprocessing.centre_line import PITCH_MM

if TYPE_CHECKING:
    # The gate reads the flags' names, and takes no bone apart.
    from spine.postprocessing.instances import Instances

NOT_DECODED: Final = "not decoded"
OFF_SPINE: Final = "off the spine"
DISORDERED: Final = "out of order"
LIKELIER: Final = "another name likelier"
REPEATED: Final = "repeated level"
SKIPPED: Final = "skipped level"
WIDE: Final = "wide gap"
VOLUME: Final = "implausible volume"
LOW_MARGIN: Final = "low margin"
RENAMED: Final = "renamed"
SPLIT: Final = "split name"
CUT: Final = "cut at the border"

DEFINITIONS: Final = {
    NOT_DECODED: "The mask holds more pieces, or more bone, than a spine has: no vertebrae were looked for, and every "
    "name is the network's.",
    OFF_SPINE: "It lies farther beside the line through the others than a vertebra can: it has no say in their names "
    "and keeps its own.",
    DISORDERED: "A vertebra above it has the name of a lower level, or one below it that of a higher level.",
    LIKELIER: "By the order of the spine and what the network saw of it and its neighbours, another name than the one "
    "that it has is clearly likelier: its run may be shifted.",
    REPEATED: "Another vertebra has the same name.",
    SKIPPED: "The level between it and the next higher vertebra is named nowhere.",
    WIDE: "Its name follows the next higher vertebra's, but there is room for one more between both.",
    VOLUME: "It lies wholly in view, but its volume is not within 0.15 to 2.2 times its level's median (S1: 0.15 to 5, "
    "as conventions differ), or not within 0.55 to 1.6 times what the two vertebrae on either side let expect.",
    LOW_MARGIN: "Another name is nearly as likely: it has the name that the network gave.",
    RENAMED: "The network gave most of it another name.",
    SPLIT: "The network gave a good part of it another name than the rest.",
    CUT: "It reaches the border of the scan, and only a part of it may be in view: its volume is a lower bound.",
}
"""What each flag says, in one sentence, from the gravest to the mildest."""

FLAGS: Final = tuple(DEFINITIONS)

_SPLIT_SHARE: Final = 0.9  # of a vertebra's voxels under its most common name
_WIDE_PITCHES: Final = 1.6  # right gaps are below 1.2 between whole vertebrae, two pitches with one missing


def flags_of(
    place: int,
    *,
    final: list[int],
    was: list[int],
    sure: bool,
    likelier: bool,
    share: float,
    odd_volume: bool,
    instances: "Instances",
) -> tuple[str, ...]:
    """Return the flags of one vertebra by its place in the row, given the final names of all.

    ``sure`` says whether its margin suffices, ``likelier`` that a sure other name was not given to it, ``share``
    how much of it the network called by its most common name, ``odd_volume`` that its volume is implausible.
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
        DISORDERED: not (item.is_off_spine or item.is_fragment)
        and any((final[other] - name) * (other - place) < 0 for other in whole),
        LIKELIER: likelier,
        REPEATED: not item.is_off_spine and any(final[other] == name for other in whole),
        SKIPPED: not item.is_off_spine and highest is not None and name > highest + 1,
        WIDE: not item.is_off_spine and _is_wide(place, above=above, final=final, instances=instances),
        VOLUME: odd_volume,
        LOW_MARGIN: not sure,
        RENAMED: name != was[place],
        SPLIT: share < _SPLIT_SHARE,
        CUT: item.at_border,
    }
    return tuple(flag for flag in FLAGS if facts.get(flag))


def _is_wide(place: int, *, above: list[int], final: list[int], instances: "Instances") -> bool:
    if not above or final[place] != final[above[-1]] + 1:
        return False
    upper, lower = instances.items[above[-1]], instances.items[place]
    # Where the rest of what the border cuts would lie is no more than a guess.
    if upper.is_cut or lower.is_cut or upper.is_fragment or lower.is_fragment:
        return False
    expected_mm = float(PITCH_MM[final[above[-1]]]) * instances.scale
    return lower.position_mm - upper.position_mm > _WIDE_PITCHES * expected_mm
