"""A root with candidates that train, have ended or were killed, written by the journals that training uses."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from components.monitor_root.collector import RootCollector
from spine.journal import JOURNAL_FILE, Journal
from spine.settings import Settings

Scrape = dict[tuple[str, ...], float]


@dataclass(frozen=True)
class Site:
    """A root, and what training and the gate leave there."""

    root: Path
    candidate: str = "c0ffeec0ffee"

    def fold(self, fold: int, candidate: str | None = None) -> Path:
        model = self.root / "candidates" / (candidate or self.candidate) / "Dataset001_Spine" / "Trainer__Plans__3d"
        (model / f"fold_{fold}").mkdir(parents=True, exist_ok=True)
        return model / f"fold_{fold}"

    def journal(self, fold: int, candidate: str | None = None) -> Journal:
        return Journal(self.fold(fold, candidate) / JOURNAL_FILE)

    def watched(self, *, days: float = 7.0, pause_s: float = 0.0) -> "Watched":
        return Watched(RootCollector(self.root, Settings(root=self.root), days=days, pause_s=pause_s))

    @staticmethod
    def set_age(path: Path, seconds: float) -> None:
        at = time.time() - seconds
        os.utime(path, (at, at))


class Watched:
    """A monitor of a root; each call is a scrape."""

    def __init__(self, collector: RootCollector) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(collector)

    def text(self) -> str:
        return generate_latest(self._registry).decode()

    def __call__(self) -> Scrape:
        """Every sample by its name, without the prefix, and the values of its labels in the order of their names."""
        return {
            (sample.name.removeprefix("spineline_"), *sample.labels.values()): sample.value
            for family in text_string_to_metric_families(self.text())
            for sample in family.samples
        }


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "root").mkdir(exist_ok=True)
    return Site(tmp_path / "root")
