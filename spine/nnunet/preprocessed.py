"""Preprocessed cases on disk: which are owed, what room they need, and making them side by side."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_json
from nnunetv2.preprocessing.resampling.default_resampling import compute_new_shape
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from spine.errors import OutOfSpaceError, SpinelineError
from spine.nnunet.cases import OnCase, training_case, training_cases
from spine.nnunet.decoded import Scratch
from spine.nnunet.fingerprint import FINGERPRINT_FILE
from spine.nnunet.parallel import crew_for, each_case
from spine.nnunet.preprocessing import Preprocessor
from spine.nnunet.workspace import PLANS_NAME, Workspace, preprocessed_files
from spine.storage import flush, out_of_space_named

_PARTIAL = ".partial-"
_FULL_BYTES = 64 << 20
_IMAGE_BYTES, _LABEL_BYTES = 4, 2
_IMAGE_LEFT, _LABELS_LEFT = 0.85, 0.05
"""What compression leaves at the most of noisy images and of label maps; measured in benchmarks/preprocessing."""
_LOCATION_BYTES = 10_000 * 4 * 8
"""Of one label: nnU-Net keeps the coordinates of up to ten thousand voxels, or a hundredth of them all."""
_MEMORY_A_VOXEL = 8
"""At the most: the image as read, its label map, a copy of it and a mask."""
_MEMORY_A_NEW_VOXEL = 14
"""The image between its axes as float64, the result as float32 and both kinds of label maps."""


class UnreadableCaseError(SpinelineError):
    """A preprocessed case is damaged."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: can't be opened; expected a preprocessed case (remove it and run plan_training)")


def require_readable(folder: Path, cases: Sequence[str]) -> None:
    """Open every preprocessed case: hours later, one that was cut off would be met in the middle of an epoch."""
    for case in cases:
        for path in (folder / name for name in preprocessed_files(case)[:2]):
            try:
                blosc2.open(str(path), mode="r")
            except (RuntimeError, OSError, ValueError) as error:
                raise UnreadableCaseError(path) from error


@dataclass(frozen=True)
class _Owed:
    """A case that lacks preprocessed configurations, and what they need in bytes."""

    configurations: tuple[str, ...]
    voxels: int
    memory: int
    disk: int


def preprocess_cases(
    *,
    dataset: Path,
    workspace: Workspace,
    configurations: Sequence[str],
    scratch: Scratch,
    threads: int,
    on_case: OnCase,
) -> None:
    """Preprocess every training case for ``configurations`` of the workspace's plans, but for what is there already.

    Cases in ``scratch`` are taken from there and removed once they are done; the others are decoded.

    Raises OutOfSpaceError before it starts where the disk has less room than is expected to be needed.
    """
    for leftover in workspace.preprocessed.glob(f"{_PARTIAL}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    plans = _plans(workspace)
    for name in configurations:
        _folder(workspace, plans, name).mkdir(parents=True, exist_ok=True)
    cases = training_cases(dataset)
    owed = _owed(dataset, workspace, plans, cases, configurations)
    _require_room(workspace, owed, scratch)
    total = len(cases) * len(configurations)
    done = total - sum(len(case.configurations) for case in owed.values())
    for index in range(done):
        on_case("preprocess", index + 1, total)
    crew = crew_for(
        voxels=sum(case.voxels for case in owed.values()),
        bytes_a_case=max((case.memory for case in owed.values()), default=0),
        cases=len(owed),
        threads=threads,
    )
    work = partial(
        _preprocess, dataset=dataset, workspace=workspace, configurations=tuple(configurations), scratch=scratch
    )
    for name in each_case(work, {name: case.memory for name, case in owed.items()}, crew=crew):
        for _ in owed[name].configurations:
            done += 1
            on_case("preprocess", done, total)


def _owed(
    dataset: Path, workspace: Workspace, plans: PlansManager, cases: list[str], configurations: Sequence[str]
) -> dict[str, _Owed]:
    fingerprint = load_json(str(workspace.dataset / FINGERPRINT_FILE))
    grids = zip(cases, fingerprint["shapes_after_crop"], fingerprint["spacings"], strict=True)
    labels = len(load_json(str(dataset / "dataset.json"))["labels"])
    owed = {}
    for case, shape, spacing in grids:
        lacking = tuple(name for name in configurations if not _is_whole(_folder(workspace, plans, name), case))
        if not lacking:
            continue
        old = training_case(dataset, case).voxels
        new = [_new_voxels(shape, spacing, plans.get_configuration(name).spacing) for name in lacking]
        a_voxel = _IMAGE_BYTES * _IMAGE_LEFT + _LABEL_BYTES * _LABELS_LEFT
        owed[case] = _Owed(
            configurations=lacking,
            voxels=old * len(lacking),
            memory=old * _MEMORY_A_VOXEL + max(max(new), old // 2) * _MEMORY_A_NEW_VOXEL,
            disk=int(sum(new) * a_voxel) + len(new) * labels * _LOCATION_BYTES,
        )
    return owed


def _new_voxels(shape: list[int], spacing: list[float], target: list[float]) -> int:
    target = [spacing[0], *target] if len(target) < len(spacing) else target
    return int(np.prod(compute_new_shape(shape, spacing, target), dtype=np.int64))


def _require_room(workspace: Workspace, owed: dict[str, _Owed], scratch: Scratch) -> None:
    needed = sum(case.disk for case in owed.values())
    if needed > shutil.disk_usage(workspace.preprocessed).free:
        scratch.give_up()
    free = shutil.disk_usage(workspace.preprocessed).free
    if needed > free:
        cases = f"{len(owed)} case{'' if len(owed) == 1 else 's'}"
        expected = f"{needed / 1e9:.1f} GB free for preprocessing {cases} (has {free / 1e9:.1f} GB)"
        raise OutOfSpaceError(workspace.preprocessed, needed=expected)


def _preprocess(
    case: str, *, dataset: Path, workspace: Workspace, configurations: tuple[str, ...], scratch: Scratch
) -> None:
    """Preprocess one case for the configurations that it lacks."""
    plans = _plans(workspace)
    paths = training_case(dataset, case)
    for name in configurations:
        folder = _folder(workspace, plans, name)
        if _is_whole(folder, case):
            continue
        with _partial_folder(workspace) as partial_folder:
            Preprocessor(read=scratch.read).run_case_save(
                str(partial_folder / case),
                [str(paths.image)],
                str(paths.labels),
                plans,
                plans.get_configuration(name),
                str(dataset / "dataset.json"),
            )
            # The properties file is moved last: where it stands, the case is whole.
            for file in preprocessed_files(case):
                flush(partial_folder / file)
                (partial_folder / file).replace(folder / file)
    scratch.remove(paths.image)


@contextlib.contextmanager
def _partial_folder(workspace: Workspace) -> Iterator[Path]:
    """Yield a folder that is gone afterwards; what fails for want of space is said to."""
    place = workspace.preprocessed
    try:
        with out_of_space_named(place), tempfile.TemporaryDirectory(dir=place, prefix=_PARTIAL) as partial_folder:
            yield Path(partial_folder)
    except RuntimeError as error:
        # All that blosc2 says of a disk that fills up.
        if shutil.disk_usage(place).free < _FULL_BYTES:
            raise OutOfSpaceError(place) from error
        raise


def _plans(workspace: Workspace) -> Any:
    return PlansManager(str(workspace.dataset / f"{PLANS_NAME}.json"))


def _folder(workspace: Workspace, plans: Any, configuration: str) -> Path:
    return workspace.dataset / str(plans.get_configuration(configuration).data_identifier)


def _is_whole(folder: Path, case: str) -> bool:
    return all((folder / name).is_file() for name in preprocessed_files(case))
