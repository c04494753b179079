"""The live model: loaded beside the old one, checked by its golden case, and put in place by one reference."""

import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from components.serve_model.errors import DrainingError
from model_registry.bundle import Bundle
from model_registry.lifecycle import Registry
from model_registry.models import check_golden_case, load_segmenter, spacing_mm
from model_registry.training_distribution import TrainingDistribution, training_distribution_of
from spine.nnunet.workspace import Workspace
from spine.volume.grid import Grid
from spine.volume.nifti import Volume

if TYPE_CHECKING:
    from spine.nnunet.segmentation import Segmenter
    from spine.postprocessing.decoding import Decoded

_KEPT_WARM = 2
_MOST_DRAINING = 2
"""Replaced models that may still finish requests while another is loaded."""
_DRAIN_S = 60.0
_DRAIN_POLL_S = 0.02


class Turns:
    """Lets one batch of windows run at a time, whichever model makes it; who waits gets the next turn.

    Two predictions at once fight for the same cores: with every thread of torch spinning, each is many times slower
    than one after the other. While a golden case runs, the batches of other models wait for its end: a rollback should
    not share the cores with what it ends.
    """

    def __init__(self) -> None:
        self._next, self._running, self._golden = threading.Lock(), threading.Lock(), threading.Lock()
        self._changed = threading.Condition()
        self._first: Turn | None = None

    def begin(self, turn: "Turn") -> None:
        """Wait for the turn; the first lock is held only while waiting."""
        with self._changed:
            self._changed.wait_for(lambda: self._first in (None, turn))
        with self._next:
            self._running.acquire()

    def end(self) -> None:
        """Let the next one run."""
        self._running.release()

    @contextmanager
    def only(self, turn: "Turn") -> Iterator[None]:
        """Keep all others waiting; one golden case at a time."""
        with self._golden:
            self._set_first(turn)
            try:
                yield
            finally:
                self._set_first(None)

    def _set_first(self, turn: "Turn | None") -> None:
        with self._changed:
            self._first = turn
            self._changed.notify_all()


class Turn:
    """One model's place in the turns."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    def __enter__(self) -> None:
        self._turns.begin(self)

    def __exit__(self, *_: object) -> None:
        self._turns.end()

    def first(self) -> AbstractContextManager[None]:
        """Go before all other models, for a golden case."""
        return self._turns.only(self)


@dataclass(frozen=True, eq=False)
class LiveModel:
    """A version in memory whose golden case passed."""

    version: int
    digest: str
    recipe: str
    spacing_mm: tuple[float, float, float]
    """Voxel size that the model works at, along left-right, anterior-posterior, superior-inferior."""
    training_distribution: TrainingDistribution | None
    """What the scans were like that it was trained on; None for an old bundle that doesn't say."""
    golden_dice: float
    checked_at: str
    """When its golden case passed before it went live: UTC, ISO 8601."""
    segmenter: "Segmenter"
    turn: Turn
    """The segmenter's place in the turns of all models."""
    withdrawn: threading.Event
    """Set when the version was revoked: no scan is answered with it from then on."""

    @property
    def is_withdrawn(self) -> bool:
        """Whether the version was revoked while requests held it."""
        return self.withdrawn.is_set()

    def decode(self, scan: Volume, *, on_progress: Callable[[int, int], None] | None = None) -> "Decoded":
        """Label a scan; several threads may do so at once, and their windows share batches."""
        return self.segmenter.decode(scan, on_progress=on_progress)

    def memory_bytes(self, grid: Grid) -> int:
        """Estimate the peak of memory of one scan on ``grid``, the scan included, beyond the models."""
        return self.segmenter.memory_bytes(grid)


class Engine:
    """Holds the one live model and the version that was live before it, warm for a rollback.

    Every request holds its own reference to the model that it began with: one that the engine doesn't hold any more
    leaves memory with the last request that does.
    """

    def __init__(self, *, root: Path, threads: int) -> None:
        self._root, self._threads = root, threads
        self._turns = Turns()
        self._live: LiveModel | None = None
        # Replaced as a whole, never changed: other threads read it.
        self._warm: dict[int, LiveModel] = {}
        self._in_memory: weakref.WeakSet[Segmenter] = weakref.WeakSet()

    @property
    def live(self) -> LiveModel | None:
        """The live model; a request takes this reference once and finishes on it."""
        return self._live

    def warm_up(self) -> None:
        """Import the heavy libraries before the first version is promoted, so that it goes live at once."""
        Workspace.below(self._root / "serving").activate()
        import spine.nnunet.segmentation  # noqa: F401

    def prepare(self, registry: Registry, version: int, *, is_urgent: bool = True) -> tuple[LiveModel, bool]:
        """Return a version ready to go live, its golden case passed, and whether it was warm already.

        Scans wait for the golden case where it ``is_urgent``; else it shares the network's turns with them.
        Raises SpinelineError where the version is revoked, its bundle is not as recorded, or its golden case fails.
        """
        warm = self._warm.get(version)
        if warm is not None:
            bundle = registry.bundle(version)
            if bundle.digest == warm.digest:
                with warm.turn.first() if is_urgent else nullcontext():
                    golden_dice = check_golden_case(warm.segmenter, bundle, version=version)
                return replace(warm, golden_dice=golden_dice, checked_at=_now()), True
        bundle = registry.verified_bundle(version)
        self._wait_for_room(version)
        return self._loaded(bundle, version, is_urgent=is_urgent), False

    def switch(self, model: LiveModel) -> None:
        """Put a prepared model in place of the live one; requests under way finish on the model they hold."""
        others = [held for held in self._warm.values() if held.version != model.version]
        self._live = model
        self._warm = {held.version: held for held in [*others, model][-_KEPT_WARM:]}

    def keep(self, model: LiveModel) -> None:
        """Keep a prepared model warm beside the live one, in place of what was warm before."""
        live = self._live
        if live is None or live.version == model.version:
            return
        self._warm = {held.version: held for held in (model, live)}

    def drop(self, version: int) -> None:
        """Forget a version that was revoked; what is under way with it is not answered."""
        for held in (self._live, self._warm.get(version)):
            if held is not None and held.version == version:
                held.withdrawn.set()
        self._warm = {number: held for number, held in self._warm.items() if number != version}
        if self._live is not None and self._live.version == version:
            self._live = None

    def held(self) -> tuple[int, ...]:
        """Return the versions in memory that would answer at once; those that still finish requests are left out."""
        return tuple(self._warm)

    def _wait_for_room(self, version: int) -> None:
        """Wait for requests to finish on the models that were replaced, so that many swaps don't fill the memory."""
        deadline = time.monotonic() + _DRAIN_S
        while self._draining() >= _MOST_DRAINING:
            if time.monotonic() > deadline:
                raise DrainingError(version, draining=self._draining())
            time.sleep(_DRAIN_POLL_S)

    def _draining(self) -> int:
        held = {id(model.segmenter) for model in self._warm.values()}
        return sum(id(segmenter) not in held for segmenter in list(self._in_memory))

    def _loaded(self, bundle: Bundle, version: int, *, is_urgent: bool) -> LiveModel:
        from spine.nnunet.segmentation import best_device

        turn = Turn(self._turns)
        segmenter = load_segmenter(bundle, device=best_device(), threads=self._threads, turn=turn)
        with turn.first() if is_urgent else nullcontext():
            golden_dice = check_golden_case(segmenter, bundle, version=version)
        # Loading leaves cycles that hold the segmenter; without them it leaves memory with its last request.
        gc.collect()
        self._in_memory.add(segmenter)
        return LiveModel(
            version=version,
            digest=bundle.digest,
            recipe=bundle.manifest.recipe_name,
            spacing_mm=spacing_mm(bundle),
            training_distribution=training_distribution_of(bundle),
            golden_dice=golden_dice,
            checked_at=_now(),
            segmenter=segmenter,
            turn=turn,
            withdrawn=threading.Event(),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
