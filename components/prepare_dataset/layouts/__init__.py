"""The layouts that raw data come in: a module each, with one function that finds the cases or says that it is none."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from components.prepare_dataset.label_maps import label_map
from components.prepare_dataset.layouts import ctspine1k, dicom, kaggle, nnunet_raw, totalsegmentator, verse
from components.prepare_dataset.raw_case import RawCase, patients_of
from spine.errors import InvalidValueError, MissingPathError, SpinelineError, UnknownNameError

_SHOWN = 6


@dataclass(frozen=True)
class Layout:
    """How one kind of data set lies on disk; ``find_cases`` returns None for a folder of another kind."""

    expected: str
    find_cases: Callable[[Path], list[RawCase] | None]


LAYOUTS: Final = {
    "kaggle": Layout(kaggle.EXPECTED, kaggle.find_cases),
    "totalsegmentator": Layout(totalsegmentator.EXPECTED, totalsegmentator.find_cases),
    "verse": Layout(verse.EXPECTED, verse.find_cases),
    "ctspine1k": Layout(ctspine1k.EXPECTED, ctspine1k.find_cases),
    "nnunet": Layout(nnunet_raw.EXPECTED, nnunet_raw.find_cases),
    "dicom": Layout(dicom.EXPECTED, dicom.find_cases),
}


@dataclass(frozen=True)
class RawSet:
    """The cases of a raw folder, sorted by name, and the layout that they were found by."""

    layout: str
    label_map: str
    cases: tuple[RawCase, ...]


class UnknownLayoutError(SpinelineError):
    """A raw folder is of no layout that is known, or of more than one."""


def find_cases(raw: Path, *, layout: str | None = None, labels: str | None = None) -> RawSet:
    """Find the cases of ``raw`` by its layout, or by the one that is named; patients come from ``patients.csv``.

    ``labels`` names a label map in place of the layout's own. Raises UnknownLayoutError saying what was found and
    what each layout expects.
    """
    if layout is not None and layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, accepted=sorted(LAYOUTS))
    chosen = label_map(labels) if labels else None
    if not raw.is_dir():
        raise MissingPathError(raw, expected="a folder of raw scans")
    name, found = _of_layout(raw, [layout] if layout else list(LAYOUTS))
    for case in found:
        if not case.case.isprintable():
            raise InvalidValueError("name of a case", case.case.encode(errors="replace"), expected="printable UTF-8")
    patients = patients_of(raw, cases=[case.case for case in found])
    cases = tuple(
        replace(
            case,
            patient=patients.get(case.case, case.patient),
            in_patients_table=not patients or case.case in patients or case.patient is not None,
            label_map=chosen or case.label_map,
            source=tuple(place.relative_to(raw).as_posix() for place in (case.image, case.labels) if place),
        )
        for case in found
    )
    return RawSet(layout=name, label_map=cases[0].label_map.name, cases=cases)


def _of_layout(raw: Path, tried: list[str]) -> tuple[str, list[RawCase]]:
    matching = {name: found for name in tried if (found := LAYOUTS[name].find_cases(raw))}
    if len(matching) == 1:
        return next(iter(matching.items()))
    if matching:
        raise UnknownLayoutError(f"{raw}: is of the layouts {' and '.join(matching)}; expected one: name it (--layout)")
    expected = "; or ".join(f"{name}: {LAYOUTS[name].expected}" for name in tried)
    raise UnknownLayoutError(f"{raw}: holds {_shown(raw)}; expected {expected}")


def _shown(raw: Path) -> str:
    names = sorted(f"{path.name}/" if path.is_dir() else path.name for path in raw.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more if names else "nothing"
