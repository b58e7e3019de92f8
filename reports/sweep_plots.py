"""The plots of a sweep as files for papers: SVG and PNG, by matplotlib."""

from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moesaic.models.errors import InputError
from moesaic.reports.sweep_influence import influence
from moesaic.reports.sweep_peers import comparable, peers_of
from moesaic.reports.sweep_read import Point, Sweep
from moesaic.reports.sweep_view import breakdown_bars, figure_title, has_floors
from moesaic.sim.sweep.figures import OBJECTIVES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FOLDER = "figures"
SIZE = (5.2, 3.6)  # inches: a column and a half of a paper
DPI = 200
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e1e1dc",
    "axes.axisbelow": True,
    "svg.hashsalt": "moesaic",  # the same file each time
}
GREY, BLUE, PINK, AMBER, VIOLET, GREEN = (
    *("#b9bcc2", "#2f6fd0", "#c2417c", "#d98a00", "#7d55c7", "#147a4b"),
)


def write_figures(directory: Path, sweep: Sweep) -> list[Path]:
    """Write every plot of a sweep into `figures` of a directory and return the paths."""
    import matplotlib as mpl

    folder = directory / FOLDER
    goals = sweep.space.objectives
    out: list[Path] = []
    with mpl.rc_context(STYLE):
        plots = {
            f"front-{goals[0]}-{other}": pareto(sweep, goals[0], other) for other in goals[1:]
        } | {f"influence-{name}": influence_plot(sweep, name) for name in goals}
        if has_floors(sweep):
            plots["roofline"] = roofline(sweep)
        if sweep.breakdowns:
            plots["breakdown"] = breakdown_plot(sweep)
        try:
            folder.mkdir(exist_ok=True)
            for name, figure in plots.items():
                for path, more in (
                    (folder / f"{name}.svg", {"metadata": {"Date": None}}),
                    (folder / f"{name}.png", {"dpi": DPI}),
                ):
                    figure.savefig(path, bbox_inches="tight", **more)
                    out.append(path)
        except OSError as error:
            raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return out


def pareto(sweep: Sweep, x: str, y: str) -> "Figure":
    """Return the scatter of two figures with the front of these two and published designs."""
    from matplotlib.ticker import EngFormatter

    figure, axes = _figure()

    def at(point: Point) -> tuple[float, float]:
        return (point.figures or {})[x], (point.figures or {})[y]

    _points(axes, sweep, at)
    path = front_of(sweep, x, y)
    axes.step(*zip(*path, strict=True), where="post", color=PINK, lw=1.2, label="front of the two")
    same = comparable(sweep)
    for peer in peers_of(sweep):
        known = {name: value for name, value in peer.figures.items() if name in same}
        if x in known and y in known:
            axes.plot(known[x], known[y], "D", color=AMBER, ms=5)
            axes.annotate(peer.name, (known[x], known[y]), fontsize=7, color=AMBER)
        elif x in known:
            axes.axvline(known[x], color=AMBER, ls=":", lw=1)
            axes.annotate(
                peer.name,
                (known[x], 0.98),
                xycoords=("data", "axes fraction"),
                rotation=90,
                va="top",
                ha="right",
                fontsize=7,
                color=AMBER,
            )
    _scales(axes, [at(point) for point in sweep.built])
    axes.set_xlabel(figure_title(x))
    axes.set_ylabel(figure_title(y))
    for name, axis in ((x, axes.xaxis), (y, axes.yaxis)):
        if name == "latency":
            axis.set_major_formatter(EngFormatter("s"))
    _legend(axes)
    return figure


def front_of(sweep: Sweep, x: str, y: str) -> list[tuple[float, float]]:
    """Return the feasible points that no other beats in two figures, the best in `x` first."""
    a, b = OBJECTIVES.get(x, 1), OBJECTIVES.get(y, 1)
    values = [point.figures or {} for point in sweep.built if point.feasible]
    kept: list[tuple[float, float]] = []
    for one, other in sorted((a * found[x], b * found[y]) for found in values):
        if not kept or other < kept[-1][1]:
            kept.append((one, other))
    assert all(first[1] > second[1] for first, second in pairwise(kept))
    return [(a * one, b * other) for one, other in kept]


def influence_plot(sweep: Sweep, name: str) -> "Figure":
    """Return bars of the share of variance that each parameter explains."""
    figure, axes = _figure()
    effects = sorted(influence(sweep, name), key=lambda effect: effect.share or 0)
    shares = [100 * (effect.share or 0) for effect in effects]
    bars = axes.barh([effect.parameter for effect in effects], shares, color=BLUE)
    axes.bar_label(bars, fmt="%.1f %%", padding=3, fontsize=8)
    axes.grid(axis="y", visible=False)
    axes.margins(x=0.15)
    axes.set_xlabel(f"share of the variance of {figure_title(name)}, percent")
    return figure


def breakdown_plot(sweep: Sweep) -> "Figure":
    """Return stacked bars of the cycles of points of the front by kind of layer."""
    figure, axes = _figure()
    bars = breakdown_bars(sweep)
    names = [f"point {number}" for number in bars["points"]]
    left = [0] * len(names)
    for kind, cycles in bars["kinds"].items():
        axes.barh(names, cycles, left=left, label=kind)
        left = [before + more for before, more in zip(left, cycles, strict=True)]
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("cycles")
    _legend(axes)
    return figure


def roofline(sweep: Sweep) -> "Figure":
    """Return points under both floors, each relative to its own machine."""
    figure, axes = _figure()

    def at(point: Point) -> tuple[float, float]:
        found = point.figures or {}
        compute = found["floor_compute"]
        return compute / max(found["floor_bandwidth"], 1), compute / max(found["cycles"], 1)

    _points(axes, sweep, at)
    xs = [at(point)[0] for point in sweep.built]
    low, high = min(0.5, *xs) / 1.3, max(2.0, *xs) * 1.3
    axes.plot([low, 1], [low, 1], color=AMBER, label="bandwidth floor")
    axes.plot([1, high], [1, 1], color=VIOLET, label="compute floor")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("compute floor over bandwidth floor")
    axes.set_ylabel("compute floor over cycles")
    _legend(axes)
    return figure


def _figure() -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE)
    return figure, figure.add_subplot()


def _points(axes: "Axes", sweep: Sweep, at: Any) -> None:
    """Draw points by kind, and rings about those that RTL confirmed."""
    exact = {record.number for record in sweep.verification if record.exact}
    plain = [point for point in sweep.built if point.feasible and not point.front]
    kinds: tuple[tuple[str, list[Point], dict[str, Any]], ...] = (
        ("infeasible", [p for p in sweep.built if not p.feasible], {"s": 6, "color": GREY}),
        ("feasible", plain, {"s": 9, "color": BLUE, "alpha": 0.6, "lw": 0}),
        ("front", [p for p in sweep.built if p.front], {"s": 22, "color": PINK, "zorder": 3}),
        (
            "exact on RTL",
            [p for p in sweep.built if p.number in exact],
            {"s": 70, "facecolors": "none", "edgecolors": GREEN, "zorder": 4},
        ),
    )
    for name, points, style in kinds:
        if points:
            axes.scatter(*zip(*map(at, points), strict=True), label=name, **style)


def _scales(axes: "Axes", places: list[tuple[float, float]]) -> None:
    """Make an axis logarithmic where its values are more than 20 times apart."""
    for values, scale in zip(
        zip(*places, strict=True), (axes.set_xscale, axes.set_yscale), strict=True
    ):
        if min(values) > 0 and max(values) > 20 * min(values):
            scale("log")


def _legend(axes: "Axes") -> None:
    axes.legend(fontsize=7, frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))
