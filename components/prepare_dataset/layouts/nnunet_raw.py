"""nnU-Net raw: ``imagesTr/``, ``labelsTr/`` and ``dataset.json``, whose names say which id is which vertebra."""

import re
from pathlib import Path
from typing import Any

from components.prepare_dataset.label_maps import OURS, UNNAMED, LabelMap
from components.prepare_dataset.raw_case import RawCase, pair, volumes_in
from spine.errors import MalformedFileError
from spine.labels import IDS
from spine.nnunet.workspace import CHANNEL_SUFFIX
from spine.storage import read_json

EXPECTED = f"imagesTr/ (case{CHANNEL_SUFFIX}.nii.gz), labelsTr/ (case.nii.gz) and dataset.json"
_FURTHER = re.compile(r"_000[1-9]$")
_PREFIXES = ("vertebrae_", "vertebra_")


def find_cases(raw: Path) -> list[RawCase] | None:
    """Return the cases of the training folders, and of the test folders where they have labels; None without images.

    Raises MalformedFileError for a ``dataset.json`` of more than one channel, or with labels that are no vertebrae.
    """
    if not (raw / "imagesTr").is_dir():
        return None
    label_map = _label_map(raw / "dataset.json")
    splits = [split for split in ("Tr", "Ts") if (raw / f"labels{split}").is_dir()]
    files = _inside(raw, "images", splits)
    further = [name for name in volumes_in(files) if _FURTHER.search(name)]
    if further:
        raise MalformedFileError(raw / "imagesTr", reason=f"{further[0]} is a second channel", expected="one, CT")
    images = volumes_in(files, ending=CHANNEL_SUFFIX)
    labels = volumes_in(_inside(raw, "labels", splits))
    return pair(images, labels, label_map=label_map) if images else None


def _inside(raw: Path, kind: str, splits: list[str]) -> list[Path]:
    folders = [raw / f"{kind}{split}" for split in splits]
    return [path for folder in folders if folder.is_dir() for path in folder.iterdir()]


def _label_map(path: Path) -> LabelMap:
    described = read_json(path, expected="the dataset.json of an nnU-Net raw data set")
    try:
        channels, labels = described["channel_names"], dict(described["labels"])
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedFileError(path, reason="lacks channel_names or labels", expected="a dataset.json") from error
    if len(channels) != 1:
        raise MalformedFileError(path, reason=f"has {len(channels)} channels", expected="one channel, CT")
    if str(channels.get("0")).upper() != "CT":
        raise MalformedFileError(path, reason=f"has the channel {channels}", expected="one channel, CT")
    ids, unnamed = {}, {}
    for name, number in labels.items():
        vertebra = _vertebra(name)
        if name == "background" and number == 0:
            continue
        if not isinstance(number, int) or not (vertebra in IDS or vertebra in UNNAMED):
            raise _foreign(path, name, number)
        if vertebra in IDS:
            ids[number] = IDS[vertebra]
        else:
            unnamed[number] = vertebra
    if not ids:
        raise MalformedFileError(path, reason="labels no vertebra", expected="names such as C1, T12, L5, S1")
    return OURS if ids == dict(OURS.ids) and not unnamed else LabelMap(name="dataset.json", ids=ids, unnamed=unnamed)


def _vertebra(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _foreign(path: Path, name: str, number: Any) -> MalformedFileError:
    return MalformedFileError(path, reason=f"label '{name}' is {number!r}", expected="C1 … S1, each a whole number")
