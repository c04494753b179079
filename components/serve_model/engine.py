"""The live model: loaded beside the old one, checked by its golden case, and put in place by one reference."""

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.models import check_golden_case, load_segmenter, spacing_mm
from spine.nnunet.workspace import Workspace
from spine.volume.nifti import Volume

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter

_KEPT_WARM = 2


class Turn:
    """Lets one prediction run at a time, whichever model makes it; who waits gets the next turn.

    A segmenter is not reentrant, and two predictions at once fight for the same cores: with every thread of torch
    spinning, each is many times slower than one after the other. The first lock is only held while waiting, so a
    golden case comes between two requests however many of them queue.
    """

    def __init__(self) -> None:
        self._next, self._running = threading.Lock(), threading.Lock()

    def __enter__(self) -> None:
        with self._next:
            self._running.acquire()

    def __exit__(self, *_: object) -> None:
        self._running.release()


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A version in memory whose golden case passed."""

    version: int
    digest: str
    recipe: str
    spacing_mm: tuple[float, float, float]
    """Voxel size that the model works at, along left-right, anterior-posterior, superior-inferior."""
    golden_dice: float
    checked_at: str
    """When its golden case passed before it went live: UTC, ISO 8601."""
    segmenter: "Segmenter"
    turn: "Turn"

    def segment(self, image: Volume) -> Volume:
        """Label a scan when it is its turn."""
        with self.turn:
            return self.segmenter.segment(image)


class Engine:
    """Holds the one live model and the versions that were live before, warm for a rollback."""

    def __init__(self, *, root: Path, threads: int) -> None:
        self._root, self._threads = root, threads
        self._turn = Turn()
        self._live: LiveModel | None = None
        # Replaced as a whole, never changed: other threads read it.
        self._warm: dict[int, LiveModel] = {}

    @property
    def live(self) -> LiveModel | None:
        """The live model; a request takes this reference once and finishes on it."""
        return self._live

    def warm_up(self) -> None:
        """Import the heavy libraries before the first version is promoted, so that it goes live at once."""
        Workspace.below(self._root / "serving").activate()
        import spine.nnunet.segmentation  # noqa: F401

    def prepare(self, registry: Registry, version: int) -> tuple[LiveModel, bool]:
        """Return a version ready to go live, its golden case passed, and whether it was warm already.

        Raises SpinelineError where the version is revoked, its bundle is not as recorded, or its golden case fails.
        """
        warm = self._warm.get(version)
        if warm is not None:
            bundle = registry.bundle(version)
            if bundle.digest == warm.digest:
                with self._turn:
                    golden_dice = check_golden_case(warm.segmenter, bundle, version=version)
                return replace(warm, golden_dice=golden_dice, checked_at=_now()), True
        bundle = registry.verified_bundle(version)
        return self._loaded(bundle, version), False

    def switch(self, model: LiveModel) -> None:
        """Put a prepared model in place of the live one; requests under way finish on the model they hold."""
        others = [held for held in self._warm.values() if held.version != model.version]
        self._live = model
        self._warm = {held.version: held for held in [*others, model][-_KEPT_WARM:]}

    def drop(self, version: int) -> None:
        """Forget a version that was revoked."""
        self._warm = {number: held for number, held in self._warm.items() if number != version}
        if self._live is not None and self._live.version == version:
            self._live = None

    def held(self) -> tuple[int, ...]:
        """Return the versions in memory."""
        return tuple(self._warm)

    def _loaded(self, bundle: Bundle, version: int) -> LiveModel:
        from spine.nnunet.segmentation import best_device

        segmenter = load_segmenter(bundle, device=best_device(), threads=self._threads)
        with self._turn:
            golden_dice = check_golden_case(segmenter, bundle, version=version)
        return LiveModel(
            version=version,
            digest=bundle.digest,
            recipe=bundle.manifest.recipe_name,
            spacing_mm=spacing_mm(bundle),
            golden_dice=golden_dice,
            checked_at=_now(),
            segmenter=segmenter,
            turn=self._turn,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
