"""Promote an approved version, or roll back to an earlier one; each is one event, made after the checks."""

import logging
from pathlib import Path
from typing import Self

from model_registry import promotion
from model_registry.actors import require_person
from model_registry.aliases import mirror_soon
from model_registry.bundle import Bundle
from model_registry.dry_run import DryRun, dry_run, dry_run_rollback
from model_registry.errors import ReplicasBehindError
from model_registry.lifecycle import Registry
from model_registry.promotion import DEADLINE_S, Change, Golden
from spine import progress
from spine.arguments import Arguments
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.settings import Settings, settings
from spine.steps import run_step

STEP = "promote_model"
_MLFLOW_S = 30.0
_LOG = logging.getLogger(__name__)


def promote_model(
    *, root: Path, version: int, reason: str, services: Settings, deadline_s: float = DEADLINE_S
) -> Change:
    """Verify a version's bundle and verdict, run its golden case, put it in use, and wait for the servers.

    Raises NotPromotableError, DigestMismatchError, EvidenceError or GoldenCaseError, nothing changed then, and
    ReplicasBehindError after the automatic rollback.
    """
    with _Stages() as stages:
        return promotion.promote(
            Registry.at(root, services),
            version,
            actor=services.acting,
            reason=reason,
            golden=golden_case(services),
            deadline_s=deadline_s,
            on_stage=stages.begin,
        )


def roll_back(*, root: Path, to: int | None, reason: str, services: Settings, deadline_s: float = DEADLINE_S) -> Change:
    """Return to the version before the one in use, or to ``to``: bundle verified, no new verdict needed.

    The golden case is run by every server before it swaps, so that the command itself stays fast; here only where no
    server runs.
    """
    with _Stages() as stages:
        return promotion.roll_back(
            Registry.at(root, services),
            to,
            actor=services.acting,
            reason=reason,
            golden=golden_case(services),
            deadline_s=deadline_s,
            on_stage=stages.begin,
        )


def dry_run_promotion(*, root: Path, version: int, services: Settings) -> DryRun:
    """Make the checks of a promotion and say what would happen; nothing is changed."""
    return dry_run(Registry.at(root, services), version, golden=golden_case(services))


def dry_run_roll_back(*, root: Path, to: int | None, services: Settings) -> DryRun:
    """Make the checks of a rollback and say what would happen; nothing is changed."""
    return dry_run_rollback(Registry.at(root, services), to, golden=golden_case(services))


def golden_case(services: Settings) -> Golden:
    """Return the check that loads a bundle in this process and runs its golden case."""

    def answered(bundle: Bundle, version: int) -> float:
        from model_registry.models import check_golden_case, load_segmenter
        from spine.nnunet.segmentation import best_device

        segmenter = load_segmenter(bundle, device=best_device(), threads=services.cpu_threads)
        return check_golden_case(segmenter, bundle, version=version)

    return answered


class _Stages:
    """Shows a stage as done when the next one begins, or the work has ended well."""

    def __init__(self) -> None:
        self._stage: str | None = None

    def begin(self, stage: str) -> None:
        self._end()
        self._stage = stage
        progress.report(STEP, stage, done=0, total=1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._end()

    def _end(self) -> None:
        if self._stage is not None:
            progress.report(STEP, self._stage, done=1, total=1)


def _mirror(root: Path) -> None:
    """Set MLflow's aliases within seconds; the event stands without them, and the monitor repairs them."""
    failure = mirror_soon(Registry.at(root, settings()), settings(), wait_s=_MLFLOW_S)
    if failure is not None:
        _LOG.warning("%s", failure)


def step(*, root: str, action: str, version: int, reason: str, actor: str) -> str:
    """Do the work of the pipelines' step: ``promote`` or ``roll-back``; version 0 is the one before.

    Raises InvalidValueError, before any other check, for a promotion of no version and for an actor who is no
    particular person, such as the pod's own user.
    """

    def work() -> str:
        require_person(actor)
        services = settings().model_copy(update={"actor": actor})
        if action == "promote" and not version:
            raise InvalidValueError("version", version, expected="the number of an approved version")
        try:
            if action == "promote":
                change = promote_model(root=Path(root), version=version, reason=reason, services=services)
            else:
                change = roll_back(root=Path(root), to=version or None, reason=reason, services=services)
        except ReplicasBehindError:
            _mirror(Path(root))  # after the automatic rollback
            raise
        _mirror(Path(root))
        return change.event.text()

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the event is the last line of stdout."""

    def work() -> str:
        parser = Arguments(prog="python -m components.promote_model", description=__doc__)
        parser.add_argument("action", choices=["promote", "roll-back"])
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--version", type=int, default=0, help="the version to promote, or to roll back to")
        parser.add_argument("--reason", required=True, help="why, for the ledger")
        parser.add_argument("--actor", default=settings().acting, help="who decides it (default: %(default)s)")
        given = parser.parse_args(argv)
        if given.action == "promote" and not given.version:
            parser.error("promote needs --version")
        return step(**vars(given))

    return run_program(work)
