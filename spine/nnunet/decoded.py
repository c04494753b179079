"""Training cases as the fingerprint decoded them, kept until they are preprocessed, as far as there is room."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np

from spine.nnunet.cases import DecodedCase, read_case
from spine.workers import free_memory

_FOLDER = ".decoded"
_GEOMETRY = ("spacing", "origin", "direction")
_SHARE_OF_MEMORY = 2
_SHARE_OF_DISK = 2
"""What preprocessing will need isn't known yet; where too little is left for it, the scratch is given up."""


@dataclass(frozen=True)
class Scratch:
    """Decoded cases, under their images' names; ``granted`` are the bytes that each may take.

    It belongs to one run, in which raw files don't change. Therefore nothing is flushed to disk, which a machine
    without power might leave half-written, and most of it never gets there.
    """

    folder: Path
    granted: Mapping[str, int] = field(default_factory=dict)

    def grant(self, sizes: Mapping[Path, int]) -> Self:
        """Return a scratch that keeps those images' cases, of ``sizes`` in bytes, that fit in memory and on disk."""
        self.folder.mkdir(parents=True, exist_ok=True)
        room = min(free_memory() // _SHARE_OF_MEMORY, shutil.disk_usage(self.folder).free // _SHARE_OF_DISK)
        granted = {}
        for image, size in sizes.items():
            if size <= room:
                granted[image.name] = size
                room -= size
        return replace(self, granted=granted)

    def keep(self, image: Path, case: DecodedCase) -> None:
        """Write a case if it was granted room and needs no more; a disk that is full after all does no harm."""
        if case.image.nbytes + case.labels.nbytes > self.granted.get(image.name, 0):
            return
        file = self._file(image)
        partial = file.with_suffix(".partial")
        try:
            with partial.open("wb") as stream:
                geometry = [case.properties["sitk_stuff"][key] for key in _GEOMETRY]
                for array in (case.image, case.labels, case.properties["spacing"], *geometry):
                    np.save(stream, array)
            partial.replace(file)
        except OSError:
            partial.unlink(missing_ok=True)

    def read(self, image: Path, labels: Path) -> DecodedCase:
        """Return the case as it was kept, or decode it; raises what ``read_case`` does."""
        try:
            with self._file(image).open("rb") as stream:
                voxels, ids, spacing, *geometry = (np.load(stream) for _ in range(3 + len(_GEOMETRY)))
        except FileNotFoundError:
            return read_case(image, labels)
        kept = dict(zip(_GEOMETRY, (tuple(values.tolist()) for values in geometry), strict=True))
        return DecodedCase(image=voxels, labels=ids, properties={"sitk_stuff": kept, "spacing": list(spacing)})

    def remove(self, image: Path) -> None:
        """Give back the room of a case, if it was kept."""
        self._file(image).unlink(missing_ok=True)

    def give_up(self) -> None:
        """Give back all room."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, image: Path) -> Path:
        return self.folder / f"{image.name}.npy"


@contextlib.contextmanager
def scratch_in(place: Path) -> Iterator[Scratch]:
    """Yield a scratch in a folder of ``place`` that is gone afterwards; what a killed run left there is removed."""
    scratch = Scratch(place / _FOLDER)
    scratch.give_up()
    try:
        yield scratch
    finally:
        scratch.give_up()
