"""Prepare a data set: check every raw case, bring it to one canonical form, split by patient, report."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from components.prepare_dataset.assembly import Prepared, assemble, write_dataset
from components.prepare_dataset.case_store import CaseStore, Entry
from components.prepare_dataset.conversion import crashed, prepare_case
from components.prepare_dataset.layouts import LAYOUTS, RawSet, find_cases
from components.prepare_dataset.output_paths import require_apart, require_replaceable
from components.prepare_dataset.report import REPORT_FILE, write_report
from components.prepare_dataset.set_aside import read_set_aside
from components.prepare_dataset.splits import SplitLock
from spine import progress
from spine.arguments import Arguments
from spine.dataset import MANIFEST_FILE, Manifest
from spine.errors import InvalidValueError
from spine.logs import run_program
from spine.settings import settings
from spine.storage import clear_leftovers
from spine.workers import each

STEP = "prepare_dataset"


@dataclass(frozen=True)
class Choices:
    """How a data set is read and split, and when too much of it was refused."""

    seed: int = 1
    test_share: float = 0.2
    rejects_allowed: float = 0.5
    """The share of cases that checks may refuse before the whole set is refused; those set aside don't count."""
    layout: str | None = None
    label_map: str | None = None
    splits: Path | None = None
    """The lock of the test set; ``<output>.splits.json`` where not given."""
    set_aside: Path | None = None
    """YAML of cases that people set aside."""
    report: Path | None = None
    """Folder of the report; ``<output>.report`` where not given."""

    def lock_of(self, output: Path) -> Path:
        """Return where the lock of the test set lies."""
        return self.splits or output.absolute().with_name(f"{output.name}.splits.json")

    def report_of(self, output: Path) -> Path:
        """Return the folder of the report."""
        return self.report or output.absolute().with_name(f"{output.name}.report")


def prepare_dataset(*, raw: Path, output: Path, choices: Choices) -> Manifest:
    """Check, canonicalise and split the scans of ``raw`` into ``output``, whole or not at all.

    Cases that were prepared before, from the same files, are found again. Raises UnknownLayoutError for a folder of
    no known layout, and InvalidValueError where more than the allowed share of cases is refused; the report on them
    is written all the same.
    """
    _require_sane(choices)
    # A link is followed: what it leads to is replaced, on the disk that it was made for.
    output = output.resolve() if output.is_symlink() else output
    report = choices.report_of(output)
    raw_set = find_cases(raw, layout=choices.layout, labels=choices.label_map)
    require_replaceable("output", output, raw=raw, mark=MANIFEST_FILE)
    require_replaceable("report", report, raw=raw, mark=REPORT_FILE)
    require_apart(output, report, choices.lock_of(output))
    aside = read_set_aside(choices.set_aside, cases=[case.case for case in raw_set.cases])
    lock = SplitLock.of(choices.lock_of(output), seed=choices.seed)
    store = CaseStore(output.absolute().with_name(f".{output.absolute().name}.cases"))
    with store.locked():
        for place in (output, report):
            clear_leftovers(place)
        entries = _checked_cases(raw_set, raw=raw, store=store)
        prepared = assemble(raw_set, entries, set_aside=aside, lock=lock, test_share=choices.test_share)
        write_report(report, prepared=prepared, name=raw.name, workers=settings().cpu_threads)
        _require_enough(prepared, allowed=choices.rejects_allowed, raw=raw, report=report)
        # The lock first: a data set without its lock could be drawn anew, a lock without its data set does no harm.
        prepared.lock.write(choices.lock_of(output))
        write_dataset(output, prepared)
        store.keep_only(entry.folder for entry in entries if entry.folder)
    return prepared.manifest


def _checked_cases(raw_set: RawSet, *, raw: Path, store: CaseStore) -> list[Entry]:
    work = partial(prepare_case, within=raw, store=store)
    entries: dict[int, Entry] = {}
    total, found_again = len(raw_set.cases), 0
    for index, entry in each(
        work, raw_set.cases, workers=settings().cpu_threads, on_crash=partial(crashed, within=raw)
    ):
        entries[index] = entry
        found_again += entry.was_there
        note = f"{found_again} as before" if found_again else ""
        progress.report(STEP, "check and convert", done=len(entries), total=total, note=note)
    return [entries[index] for index in range(total)]


def _require_sane(choices: Choices) -> None:
    if not 0 < choices.test_share < 1:
        raise InvalidValueError("test share", choices.test_share, expected="a number between 0 and 1")
    if not 0 <= choices.rejects_allowed <= 1:
        raise InvalidValueError("share of rejects allowed", choices.rejects_allowed, expected="a number from 0 to 1")
    if choices.set_aside and not choices.set_aside.is_file():
        raise InvalidValueError("file of cases set aside", str(choices.set_aside), expected="a YAML file")


def _require_enough(prepared: Prepared, *, allowed: float, raw: Path, report: Path) -> None:
    refused = [row for row in prepared.manifest.quarantine if row.case not in prepared.set_aside]
    share = len(refused) / max(len(refused) + len(prepared.manifest.cases), 1)
    if share > allowed or not prepared.manifest.cases:
        rejects = [finding for row in refused for finding in row.findings if finding.severity == "reject"]
        first = f"; first: {rejects[0].case}: {rejects[0].message}" if rejects else ""
        message = f"at most {allowed}{first}; the report tells all: {report / 'index.html'}"
        raise InvalidValueError(f"share of refused cases in {raw}", round(share, 3), expected=message)
    for split in ("train", "test"):
        if not prepared.manifest.members(split=split):
            message = f"at least one; the report tells what was refused: {report / 'index.html'}"
            raise InvalidValueError(f"number of {split} cases in {raw}", 0, expected=message)


def main(argv: list[str] | None = None) -> int:
    """Run the step from the command line, as ``dvc.yaml`` does."""
    parser = Arguments(prog="python -m components.prepare_dataset", description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder of raw scans, in one of the layouts")
    parser.add_argument("--output", type=Path, required=True, help="folder of the prepared data set")
    parser.add_argument("--layout", choices=sorted(LAYOUTS), help="layout of the raw scans (default: recognised)")
    parser.add_argument("--labels", dest="label_map", help="label map of the masks (default: the layout's own)")
    parser.add_argument("--seed", type=int, default=Choices.seed, help="seed of the splits (default: %(default)s)")
    parser.add_argument("--test-share", type=float, default=Choices.test_share, help="share of patients to lock away")
    parser.add_argument(
        "--rejects-allowed", type=float, default=Choices.rejects_allowed, help="share of cases that may be refused"
    )
    parser.add_argument("--splits", type=Path, help="lock of the test set (default: OUTPUT.splits.json)")
    parser.add_argument("--set-aside", type=Path, help="YAML of cases to leave out: case: reason")
    parser.add_argument("--report", type=Path, help="folder of the report (default: OUTPUT.report)")
    arguments = vars(parser.parse_args(argv))

    def work() -> str:
        raw, output = arguments.pop("raw"), arguments.pop("output")
        manifest = prepare_dataset(raw=raw, output=output, choices=Choices(**arguments))
        return (
            f"{len(manifest.members(split='train'))} training and {len(manifest.members(split='test'))} test cases, "
            f"{len(manifest.quarantined)} quarantined"
        )

    return run_program(work)
