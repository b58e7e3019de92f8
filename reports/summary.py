"""What a person wants to know after a run, as one small table."""

from typing import Any

from moesaic.reports.figures import metric_name, metric_text

STAGES = ("quantise", "map", "elaborate", "compile", "simulate", "compare")


def summary(run: dict[str, Any]) -> list[tuple[str, str]]:
    """Return names and values for a run's JSON."""
    rtl = run["cycles_rtl"]
    cycles = run["cycles_predicted"] if rtl is None else rtl
    floor = run["cycles_floor"]
    bound = "compute" if floor["compute"] >= floor["bandwidth"] else "bandwidth"
    rows = [
        ("model, accelerator", f"{run['model']} on {run['accel']}"),
        ("images", f"{run['images']}, {run['batch']} in each command stream"),
        ("bit exact", _bit_exact(run)),
        ("cycles", _cycles(run)),
        (
            "floor",
            f"{floor['max']:,} ({bound}), {cycles / floor['max'] - 1:+.1%} above",
        ),
        ("utilisation", _utilisation(run)),
        (
            "latency",
            f"{run['latency_s'] * 1e3:.3f} ms at {run['clock_hz'] / 1e6:g} MHz ({run['clock_is']})",
        ),
        (
            "work",
            f"{run['macs']:,} MACs of {run['tokens']} tokens, {run['gops']:.1f} GOPS",
        ),
        ("memory", f"{run['bytes_read']:,} bytes read, {run['bytes_written']:,} written"),
    ]
    if run["accuracy"]:
        rows.append(_accuracy(run["accuracy"]))
    times = run["seconds"]
    rows.append(("seconds", ", ".join(f"{s} {times[s]:.1f}" for s in STAGES if times[s] >= 0.05)))
    rows += [("note", note) for note in run["notes"][:5]]
    return rows


def print_summary(run: dict[str, Any]) -> None:
    """Print the table."""
    rows = summary(run)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name:<{width}}  {value}")


def _bit_exact(run: dict[str, Any]) -> str:
    if run["cycles_rtl"] is None:
        return "not compared (no RTL)"
    verdict = "yes" if run["bit_exact"] else f"NO, {run['mismatches']} layers differ"
    return f"{verdict}: {run['layers_compared']} layers, {run['values_compared']:,} values"


def _cycles(run: dict[str, Any]) -> str:
    predicted, rtl = run["cycles_predicted"], run["cycles_rtl"]
    if rtl is None:
        return f"{predicted:,} predicted"
    if run["stall"]:
        return f"{predicted:,} predicted, {rtl:,} on RTL with stalls of {run['stall']:g}"
    equal = "equal" if run["cycles_exact"] else "NOT EQUAL"
    return f"{predicted:,} predicted, {rtl:,} on RTL: {equal}"


def _utilisation(run: dict[str, Any]) -> str:
    text = f"{run['utilisation']:.1%} of {run['macs_per_cycle']} MACs per cycle"
    if run["dense_macs"] != run["macs"]:
        text += f"; {run['dense_equivalent_utilisation']:.1%} counting pruned weights"
    return text


def _accuracy(accuracy: dict[str, Any]) -> tuple[str, str]:
    metric = accuracy["metric"]
    text = f"float {metric_text(metric, accuracy['float'])}"
    text += f", integers {metric_text(metric, accuracy['quantised'])}"
    if accuracy["rtl"] is not None:
        text += f", RTL {metric_text(metric, accuracy['rtl'])}"
    return metric_name(metric), f"{text} of {accuracy['images']} images"
