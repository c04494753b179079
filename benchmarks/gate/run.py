"""Coverage, errors and power of the gate by simulation, and its speed beside scipy's: the tables of docs/gate.md."""

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from model_registry.bootstrap import Bootstrap
from model_registry.gate import judge
from model_registry.policy import AgainstChampion, load_policy
from model_registry.simulation import DISTRIBUTIONS, GateDraws, coverage, draw_gate
from model_registry.statistics import bootstrap_of
from spine.metrics.scores import Evaluation, LabelScore, ScanScores
from spine.metrics.summary import summarize

DOCS = Path(__file__).parents[2] / "docs"
PATIENTS = (30, 100, 200)
POWER_PATIENTS = (30, 50, 100, 200, 400, 800)
DIFFERENCES = (-0.02, -0.01, -0.005, 0.0, 0.005, 0.01, 0.02, 0.03)
MISNAMED = {"2 % of the scans misnamed": 0.02, "10 % misnamed": 0.1}


def main() -> None:
    """Simulate, write the tables and the picture, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    settings = load_policy("research").champion
    write_table("coverage", coverage_table(settings, draws))
    write_table("errors", error_table(settings, draws))
    power = {name: power_of(settings, draws, misnamed) for name, misnamed in MISNAMED.items()}
    write_table("power", power_table(power))
    draw_power(power, DOCS / "gate_power.png")
    print(speed())


def coverage_table(settings: AgainstChampion, draws: int) -> str:
    """Return the coverage of our interval, and of BCa alone, by distribution and number of patients."""
    ours, bca = bootstrap_of(settings), _BcaAlone(bootstrap_of(settings))
    rows = []
    for name, (draw, truth) in DISTRIBUTIONS.items():
        row = [name]
        for patients in PATIENTS:
            found, alone = (
                coverage(draw, truth=truth, patients=patients, draws=draws, bootstrap=each) for each in (ours, bca)
            )
            row.append(f"{found['covered']:.1%} ({found['above']:.1%}, {found['below']:.1%})")
            row.append(f"{alone['covered']:.1%}")
        rows.append(row)
    columns = [column for patients in PATIENTS for column in (f"n = {patients}", "BCa alone")]
    return table(["values", *columns], rows)


class _BcaAlone(Bootstrap):
    def __init__(self, of: Bootstrap) -> None:
        self.interval = of.bca  # type: ignore[method-assign]


def error_table(settings: AgainstChampion, draws: int) -> str:
    """Return how often the gate errs: each number should be at most 5 %."""
    superior = settings.model_copy(update={"rule": "superior"})
    loose = settings.model_copy(update={"margin_overall": settings.margin_region})
    rows = []
    for name, misnamed in {"none misnamed": 0.0, **MISNAMED}.items():
        for patients in PATIENTS:
            same = draw_gate(patients=patients, draws=draws, settings=settings, misnamed=misnamed)
            rates = (
                same.rates(difference=0)["fail"],
                GateDraws(same.low, same.high, superior).rates(difference=0)["pass"],
                same.rates(difference=-settings.margin_overall)["pass"],
                GateDraws(same.low, same.high, loose).rates(difference=-settings.margin_region)["pass"],
            )
            rows.append([name, str(patients), *(f"{rate:.1%}" for rate in rates)])
    wrong = ["A/A fails", "A/A is superior", "passes at minus 0.01 overall", "passes at minus 0.03 everywhere"]
    return table(["models", "n", *wrong], rows)


def power_of(settings: AgainstChampion, draws: int, misnamed: float) -> dict[int, list[float]]:
    """Return by number of patients how often the gate passes a candidate of each true difference."""
    found = {}
    for patients in POWER_PATIENTS:
        simulated = draw_gate(patients=patients, draws=draws, settings=settings, misnamed=misnamed)
        found[patients] = [simulated.rates(difference=difference)["pass"] for difference in DIFFERENCES]
    return found


def power_table(power: dict[str, dict[int, list[float]]]) -> str:
    """Return the probability of a pass by kind of model, number of patients and true difference."""
    rows = [
        [name, str(patients), *(f"{rate:.0%}" for rate in rates)]
        for name, curves in power.items()
        for patients, rates in curves.items()
    ]
    return table(["models", "n", *(f"{difference:+.3f}" for difference in DIFFERENCES)], rows)


def draw_power(power: dict[str, dict[int, list[float]]], path: Path) -> None:
    """Draw the power curves in black, told apart by dashes and markers."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(power), figsize=(8.5, 3.2), sharey=True, layout="constrained")
    styles = ("o:", "s:", "^--", "D--", "v-", "x-")
    for axis, (name, curves) in zip(axes, power.items(), strict=True):
        for style, (patients, rates) in zip(styles, curves.items(), strict=True):
            axis.plot(DIFFERENCES, rates, style, color="black", markersize=4, linewidth=1, label=f"n = {patients}")
        axis.axvline(-0.01, color="0.6", linewidth=0.8)
        axis.set(title=name, xlabel="true difference in Dice", ylim=(-0.02, 1.02))
    axes[0].set_ylabel("probability of a pass")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False, fontsize=8)
    figure.savefig(path, dpi=90, metadata={"Software": None})


def speed(repeats: int = 5) -> str:
    """Return how long a verdict takes on 200 scans, and as many intervals of 200 values with scipy."""
    candidate, champion, policy = _evaluation(1), _evaluation(2), load_policy("research")
    verdict = judge(candidate=candidate, champion=champion, policy=policy)
    means = sum(rule.low is not None for rule in verdict.rules) + len(verdict.claims)
    values = np.random.default_rng(1).normal(0, 0.05, 200)

    def scipys() -> None:
        for _ in range(means):
            stats.bootstrap((values,), np.mean, n_resamples=10_000, method="BCa", rng=np.random.default_rng(1))

    ours = _median(lambda: judge(candidate=candidate, champion=champion, policy=policy), repeats)
    theirs = _median(scipys, repeats)
    return f"verdict on 200 scans: {ours:.2f} s; scipy's BCa of its {means} intervals alone: {theirs:.2f} s"


def _evaluation(seed: int) -> Evaluation:
    random = np.random.default_rng(seed)
    scans = []
    for number in range(200):
        first = 1 + number % 3 * 6
        labels = tuple(_label(label, float(random.beta(55.8, 4.2))) for label in range(first, min(first + 13, 26)))
        mean = statistics.fmean(label.dice or 0 for label in labels)
        scans.append(
            ScanScores(
                case=f"case_{number:03d}", patient=None, labels=labels, mean_dice=mean, bone_dice=mean,
                all_correct=True, level_shift=0, false_positive_labels=0, false_positive_mm3=0, missing=False,
            )
        )  # fmt: skip
    return Evaluation(name=f"model {seed}", scans=tuple(scans), summary=summarize(scans))


def _label(label: int, dice: float) -> LabelScore:
    common = round(1000 * dice)
    return LabelScore(
        label=label, reference_voxels=1000, predicted_voxels=1000, common_voxels=common, dice=common / 1000,
        at_border=False, identified=True, localisation_mm=1.0, called=label,
    )  # fmt: skip


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write_table(name: str, written: str) -> None:
    """Put a table between its two comments in docs/gate.md, and print it."""
    path = DOCS / "gate.md"
    text = path.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, _, after = rest.partition(end)
    path.write_text(f"{before}{begin}\n{written}\n{end}{after}", encoding="utf-8")
    print(written, end="\n\n", flush=True)


def _median(work: Callable[[], object], repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds)


if __name__ == "__main__":
    main()
