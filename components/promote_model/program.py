"""Promote an approved version, or roll back to an earlier one; each is one event, made after the checks."""

import argparse
from pathlib import Path

from model_registry.bundle import Bundle
from model_registry.ledger import Event
from model_registry.lifecycle import Registry, require_passing
from spine import progress
from spine.logs import run_program
from spine.settings import Settings, settings
from spine.steps import run_step

STEP = "promote_model"


def promote_model(*, root: Path, version: int, reason: str, services: Settings) -> Event:
    """Verify a version's bundle and verdict, run its golden case, then put it in use.

    Raises NotPromotableError, DigestMismatchError, EvidenceError or GoldenCaseError; nothing is changed then.
    """
    registry = Registry.at(root, services)
    registry.require_promotable(version)
    before = registry.state().serving
    bundle = registry.verified_bundle(version)
    require_passing(bundle)
    progress.report(STEP, "golden case", done=0, total=1)
    dice = _golden_dice(bundle, version, threads=services.cpu_threads)
    progress.report(STEP, "golden case", done=1, total=1, note=f"Dice {dice:.4f} to the recorded answer")
    return registry.promote(version, actor=services.acting, reason=reason, expected_serving=before)


def roll_back(*, root: Path, to: int | None, reason: str, services: Settings) -> Event:
    """Return to the version before the one in use, or to ``to``: bundle verified, no new verdict needed.

    The golden case is run by every server before it swaps, so that the command itself stays fast.
    """
    registry = Registry.at(root, services)
    target = registry.rollback_target(to)
    registry.verified_bundle(target.version)
    return registry.roll_back(to=to, actor=services.acting, reason=reason)


def _golden_dice(bundle: Bundle, version: int, *, threads: int) -> float:
    from model_registry.models import check_golden_case, load_segmenter
    from spine.nnunet.segmentation import best_device

    return check_golden_case(load_segmenter(bundle, device=best_device(), threads=threads), bundle, version=version)


def step(*, root: str, action: str, version: int, reason: str) -> str:
    """Do the work of the pipelines' step: ``promote`` or ``roll-back``; version 0 is the one before."""

    def work() -> str:
        if action == "promote":
            return promote_model(root=Path(root), version=version, reason=reason, services=settings()).text()
        return roll_back(root=Path(root), to=version or None, reason=reason, services=settings()).text()

    return run_step(STEP, work)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line; the event is the last line of stdout."""

    def work() -> str:
        parser = argparse.ArgumentParser(prog="python -m components.promote_model", description=__doc__)
        parser.add_argument("action", choices=["promote", "roll-back"])
        parser.add_argument("--root", default=str(settings().root_path), help="shared root (default: %(default)s)")
        parser.add_argument("--version", type=int, default=0, help="the version to promote, or to roll back to")
        parser.add_argument("--reason", required=True, help="why, for the ledger")
        given = parser.parse_args(argv)
        if given.action == "promote" and not given.version:
            parser.error("promote needs --version")
        return step(**vars(given))

    return run_program(work)
