"""What the verdict's page and the page of a comparison are built from: the frame, and charts with their captions."""

from collections.abc import Iterable, Sequence

from components.gate_candidate.report import flags
from components.gate_candidate.report.differences import DifferenceRow
from components.gate_candidate.report.entrants import Entrant
from components.gate_candidate.report.regions import lowest_label
from spine.drawing.markup import Markup, image, joined, section, tag
from spine.drawing.style import CSS
from spine.metrics.scores import Evaluation

_META = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
_HOW_TO_FLAG = (
    "A flag is worth a reader's time where flagged vertebrae are often named wrong and few wrong names go unflagged. "
    "The margin is by how much the best naming that calls the vertebra something else is dearer (in nats): sure names "
    "should be right more often. Every vertebra that was found counts, whatever its name: it is named right where most "
    "of it lies on the reference vertebra of that name."
)


def page(*, title: str, body: Iterable[Markup], footer: Markup) -> str:
    """Return a whole page of one file."""
    head = tag("head", Markup(_META), tag("title", title), Markup(f"<style>{CSS}</style>"))
    whole = tag("html", head, tag("body", tag("main", *body), footer), lang="en")
    return f"<!DOCTYPE html>\n{whole.html}\n"


def footer(digests: Sequence[tuple[str, str]]) -> Markup:
    """Return what the page is for, and the digests of what it was made from."""
    rows = [joined((tag("dt", name), tag("dd", tag("code", digest)))) for name, digest in digests]
    aim = tag("p", tag("strong", "For research and decision support, not for clinical use."))
    return tag("footer", aim, tag("dl", *rows))


def figure(png: bytes, *, alt: str, caption: str | Markup, kind: str = "chart") -> Markup:
    """Return a picture over its caption."""
    return tag("figure", image(png, alt=alt), tag("figcaption", caption), class_=kind)


def boxes_figure(entrants: Sequence[Entrant]) -> Markup:
    """Return the box plots of Dice by vertebra."""
    from components.gate_candidate.report.plots import MOST_POINTS, vertebra_plot

    alt = f"Box plot of Dice for every vertebra from C1 to S1; {lowest_label(entrants[0].evaluation)}."
    words = (
        "Dice by vertebra. A box holds the middle half of the scans; whiskers reach up to 1.5 box heights further. A "
        f"point is a scan; where there are more than {MOST_POINTS}, only those outside the whiskers are drawn."
    )
    return figure(vertebra_plot(entrants), alt=alt, caption=words)


def scatter_figure(*, new: Entrant, old: Entrant) -> Markup:
    """Return the scatter plot of ``new`` against ``old``, scan by scan."""
    from components.gate_candidate.report.plots import scan_pairs, scatter_plot

    pairs = scan_pairs(new, old)
    better = sum(1 for _, before, now in pairs if now > before)
    worse = sum(1 for _, before, now in pairs if now < before)
    said = f"Of {len(pairs)} scans, {new.name} is better in {better} and worse in {worse}."
    if not pairs:
        said = f"No scan was scored under both {new.name} and {old.name}."
    alt = f"Scatter plot of each scan's mean Dice, {new.name} against {old.name}. {said}"
    return figure(scatter_plot(new=new, old=old), alt=alt, caption=said)


def differences_figure(rows: Sequence[DifferenceRow], *, new: str, old: str, caption: str) -> Markup:
    """Return the chart of paired differences, ``new`` minus ``old``."""
    from components.gate_candidate.report.plots import difference_plot

    alt = f"Paired differences with intervals, {new} minus {old}; the tables have the numbers."
    return figure(difference_plot(rows, new=new, old=old), alt=alt, caption=caption)


def flags_section(evaluation: Evaluation, *, of: str | None = None) -> Markup:
    """Return how margins and flags fit what was named right, or say that nothing was decoded."""
    heading = f"Are the flags of {of} worth looking at?" if of else "Are the flags worth looking at?"
    if not flags.has_decoding(evaluation):
        return section(heading, flags.nothing_decoded())
    shown = [flags.catch_sentence(evaluation), flags.flags_table(evaluation)]
    if bins := flags.margin_bins(evaluation):
        shown.append(tag("div", _margins_figure(bins), flags.margins_table(bins), class_="pair"))
    return section(heading, tag("p", _HOW_TO_FLAG), *shown)


def _margins_figure(bins: Sequence[flags.MarginBin]) -> Markup:
    from components.gate_candidate.report.plots import margin_plot

    first, last = bins[0].share_right, bins[-1].share_right
    said = f"Of the least sure names {first:.0%} are right, of the surest {last:.0%}."
    return figure(margin_plot(bins), alt=f"Share named right by margin. {said}", caption=said)
