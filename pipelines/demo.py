"""The demonstration: every link of the chain, from raw scans to a rollback under a running server."""

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.promote_model.main import promote_model, roll_back
from components.serve_model.server_info import ServerInfo
from model_registry.aliases import mirror
from model_registry.evidence_pack import make_evidence_pack
from model_registry.lifecycle import Registry
from model_registry.policy import Policy
from pipelines.cli.output import ProgressView, console, print_table, progress_view
from pipelines.comparison import compare_versions
from pipelines.demo_data import make_demo_data
from pipelines.server_process import await_version, start_detached
from pipelines.training import TrainingRequest, train_on_this_machine
from spine.dataset import Case, Manifest, image_path
from spine.errors import SpinelineError
from spine.progress import followed
from spine.recipe import Recipe
from spine.settings import settings

_OURS = "demonstration: "


class GateAgainstError(SpinelineError):
    """The demonstration's own gate did not pass."""

    exit_code = 1


@dataclass(frozen=True)
class _Demonstration:
    """What every part of the demonstration needs."""

    root: Path
    repository: Path
    policy: Policy
    view: ProgressView

    @property
    def registry(self) -> Registry:
        return Registry.at(self.root, settings())

    def version_of(self, recipe: Recipe) -> int | None:
        """Return the version that a recipe made, if it is registered."""
        for number, known in sorted(self.registry.state().versions.items()):
            if known.stage != "revoked" and self.registry.bundle(number).manifest.recipe_name == recipe.name:
                return number
        return None

    def train(self, recipe: Recipe, *, start_from: int = 0) -> int:
        """Train and register a version, unless it is there."""
        known = self.version_of(recipe)
        if known:
            return known
        request = TrainingRequest(
            repository=str(self.repository),
            revision="HEAD",
            remote="",
            recipe=recipe,
            policy=self.policy,
            start_from=start_from,
            actor=settings().acting,
        )
        self.view.begin_part()
        outcome = train_on_this_machine(request, on_event=self.view.show)
        if outcome.version is None:
            raise GateAgainstError(f"{recipe.name}: {outcome.verdict.summary}; report: {outcome.report}")
        return outcome.version.version

    def approve(self, version: int) -> None:
        """Approve a version, unless it is approved; its evidence pack is made."""
        if self.registry.state().version(version).stage == "registered":
            self.registry.approve(version, actor=settings().acting, reason=_OURS + "the gate passed")
        make_evidence_pack(self.registry, version)

    def promote(self, version: int, reason: str) -> None:
        """Promote a version; a server that runs answers with it afterwards."""
        promote_model(root=self.root, version=version, reason=_OURS + reason, services=settings())

    def was_left_by_us(self) -> bool:
        """Whether the last event is the demonstration's own rollback, after which it promotes again."""
        last = self.registry.history()[-1]
        return last.kind == "roll back" and last.reason.startswith(_OURS)


def run_demo(*, recipes: tuple[Recipe, Recipe], policy: Policy, scans: int) -> None:
    """Run the demonstration from where it is to its end, then print the summary.

    ``recipes`` make the first and the second version; the second begins from the first's checkpoints.
    """
    root = settings().root_path
    root.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with progress_view() as view, followed(view.show):
        _head("1", "data: phantom scans, checked, split by patient, versioned with DVC")
        repository = make_demo_data(root, scans=scans)
        demonstration = _Demonstration(root=root, repository=repository, policy=policy, view=view)
        _head("2", f"first version: recipe '{recipes[0].name}', folds from random weights")
        first = demonstration.train(recipes[0])
        demonstration.approve(first)
        if demonstration.registry.state().serving is None:
            demonstration.promote(first, "first version")
        _head("3", "a running server that answers with the promoted version")
        server = start_detached(root, host="127.0.0.1", port=settings().port)
        state = demonstration.registry.state()
        await_version(server, state.serving or first)
        _segment(server, root)
        _head("4", f"second version: recipe '{recipes[1].name}', begun from version {first}'s checkpoints")
        second = demonstration.train(recipes[1], start_from=first)
        demonstration.approve(second)
        _head("5", "promotion, rollback and promotion again, while the server runs")
        _swap(demonstration, server, first, second)
    mirror(Registry.at(root, settings()), settings())
    _summary(root, first, second, server, seconds=time.monotonic() - began)


def _swap(demonstration: _Demonstration, server: ServerInfo, first: int, second: int) -> None:
    """Promote, roll back and promote again, from wherever an earlier call was interrupted.

    Once there is a rollback on the record, what is in use is the user's own choice.
    """
    registry = demonstration.registry
    if not any(event.kind == "roll back" for event in registry.history()):
        if registry.state().serving == first:
            demonstration.promote(second, "second version")
        if registry.state().serving == second:
            roll_back(root=demonstration.root, to=None, reason=_OURS + "to show it", services=settings())
    if demonstration.was_left_by_us():
        await_version(server, first)
        console.print(f"  rolled back: the server answers with version {_segment(server, demonstration.root)}")
        demonstration.promote(second, "second version again")
        console.print(f"  promoted again: the server answers with version {_segment(server, demonstration.root)}")


def _segment(server: ServerInfo, root: Path) -> int:
    """Send one scan of the locked test set to the server; return the version that answered."""
    dataset = next(path for path in sorted((root / "datasets").glob("*/data")) if path.is_dir())
    case: Case = Manifest.of(dataset).members(split="test")[0]
    request = urllib.request.Request(  # noqa: S310 - the address is our own server's
        f"{server.url}/v1/segmentations",
        data=image_path(dataset, case).read_bytes(),
        headers={"Content-Type": "application/octet-stream"},
        method="POST",
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        return int(answer.headers["X-Spineline-Version"])


def _head(number: str, text: str) -> None:
    console.print(f"[bold cyan]{number}[/bold cyan] {text}", highlight=False)


def _summary(root: Path, first: int, second: int, server: ServerInfo, *, seconds: float) -> None:
    registry = Registry.at(root, settings())
    for version in (first, second):
        verdict = registry.bundle(version).json("verdict.json")
        rows = [(rule["name"], rule["value"], rule["expected"], rule["passed"]) for rule in verdict["rules"]]
        print_table(f"version {version}: {verdict['summary']}", ["rule", "value", "expected", "holds"], rows)
        if verdict["regions_without_cases"]:
            console.print(f"  no case shows {', '.join(verdict['regions_without_cases'])}", highlight=False)
    comparison = compare_versions(root, [first, second])
    print_table("locked test set", ["score", f"version {first}", f"version {second}"], comparison.rows())
    lines: list[tuple[str, Callable[[], str]]] = [
        ("difference", lambda: comparison.differences_in_words()[0]),
        ("served", lambda: f"version {registry.state().serving} at {server.url} (`spineline serve --stop` ends it)"),
        ("report", lambda: str(registry.bundle(second).folder / "report.html")),
        ("evidence pack", lambda: str(make_evidence_pack(registry, second))),
        ("pictures", lambda: str(registry.bundle(second).folder / "pictures")),
        ("took", lambda: f"{seconds:.0f} s"),
    ]
    for name, line in lines:
        console.print(f"[bold]{name}[/bold]: {line()}", highlight=False, soft_wrap=True)
    console.print("\n[bold]try next[/bold], after `source .venv/bin/activate`:")
    for command in ('spineline rollback --reason "the old one was better"', "spineline history", "spineline ui"):
        console.print(f"  {command}", highlight=False)
