"""A crontab's five fields, held to what Kubeflow's scheduler reads, and to a day that comes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from spine.errors import InvalidValueError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAYS_IN = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_PART = re.compile(r"(?P<all>[*?])?(?:(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)?(?:/(?P<step>[0-9]+))?")
_EXPECTED = "five fields (minute hour day month weekday) such as '0 2 * * *'"


@dataclass(frozen=True)
class _Field:
    """One field of a crontab: the numbers that it takes, and the names that stand for some."""

    lowest: int
    highest: int
    names: Mapping[str, int] = field(default_factory=dict)

    def values(self, text: str) -> set[int]:
        """Return the numbers that a field means; raises ValueError for one that it can't hold."""
        return set().union(*(self._range(part) for part in text.split(",")))

    def _range(self, part: str) -> range:
        found = _PART.fullmatch(part)
        if found is None or bool(found["all"]) == bool(found["first"]):
            raise ValueError(part)
        step = int(found["step"] or 1)
        first = self.lowest if found["all"] else self._number(found["first"])
        # As Kubeflow's scheduler has it, 5/15 is 5-59/15.
        is_open = found["all"] or (found["step"] and not found["last"])
        last = self.highest if is_open else self._number(found["last"] or found["first"])
        if step < 1 or first > last:
            raise ValueError(part)
        return range(first, last + 1, step)

    def _number(self, text: str) -> int:
        number = self.names[text.lower()] if text.lower() in self.names else int(text)
        if not self.lowest <= number <= self.highest:
            raise ValueError(text)
        return number


_FIELDS = (
    _Field(0, 59),
    _Field(0, 23),
    _Field(1, 31),
    _Field(1, 12, {name: number for number, name in enumerate(_MONTHS, start=1)}),
    _Field(0, 6, {name: number for number, name in enumerate(_DAYS)}),
)


def kubeflow_cron(cron: str) -> str:
    """Return a crontab's five fields as Kubeflow's six, which begin with seconds; raises InvalidValueError."""
    fields = cron.split()
    if len(fields) != len(_FIELDS):
        raise InvalidValueError("--cron", cron, expected=_EXPECTED)
    meant = [_values(cron, text, one) for text, one in zip(fields, _FIELDS, strict=True)]
    _, _, days, months, _ = meant
    # Where both the day and the weekday are named, either will do.
    is_any_weekday = "*" in fields[4] or "?" in fields[4]
    if is_any_weekday and min(days) > max(_DAYS_IN[month - 1] for month in months):
        raise InvalidValueError("--cron", cron, expected=f"{_EXPECTED}, on a day that its months have")
    return " ".join(["0", *fields])


def _values(cron: str, text: str, one: _Field) -> set[int]:
    try:
        return one.values(text)
    except ValueError:
        names = f", or names {', '.join(one.names)}" if one.names else ""
        between = f"'{text}' between {one.lowest} and {one.highest}{names}, from the lower to the higher"
        raise InvalidValueError("--cron", cron, expected=f"{_EXPECTED}, {between}") from None
