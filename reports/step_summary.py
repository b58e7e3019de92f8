"""What a person wants to know after a training step, as two small tables."""

from math import nan
from typing import Any


def step_summary(step: dict[str, Any]) -> str:
    """Return the tables of a step's JSON."""
    rtl = step["cycles_rtl"]
    floor = step["cycles_floor"]
    cycles = step["cycles_predicted"] if rtl is None else rtl
    method = step["method"] + (f" {step['nm']}" if step["nm"] else "")
    method += (f", update {step['update']}" if step["update"] else "") + f", {step['optimiser']}"
    rows = [
        ("model, accelerator", f"{step['model']} on {step['accel']}, {method}"),
        ("batch", f"{step['batch']} images, {step['tokens']} tokens; {step['steps']} steps"),
        ("bit exact", _bits(step)),
        ("cycles", _cycles(step)),
        ("floor", f"{floor['max']:,}, {cycles / floor['max'] - 1:+.1%} above"),
        ("utilisation", f"{step['utilisation']:.1%} of {step['macs_per_cycle']} MACs per cycle"),
        ("work", _work(step)),
        *_against_dense(step),
        ("memory", f"{step['bytes_read']:,} bytes read, {step['bytes_written']:,} written"),
        ("loss", ", ".join(f"{nan if x is None else x:.6f}" for x in step["loss"][:12])),
    ]
    if any(step["overflow"]):
        rows.append(("overflow", "a gradient was not finite: the step must be skipped"))
    rows += [("note", note) for note in step["notes"]]
    width = max(len(name) for name, _ in rows)
    lines = [f"  {name:<{width}}  {value}" for name, value in rows]
    lines.append(f"  {'stage':<{width}}  {'MACs':>14} {'predicted':>12} {'on RTL':>12}")
    for name, stage in step["stages"].items():
        seen = "" if stage["cycles_rtl"] is None else f"{stage['cycles_rtl']:,}"
        lines.append(
            f"  {name:<{width}}  {stage['macs']:>14,} {stage['cycles_predicted']:>12,} {seen:>12}"
        )
    return "\n".join(lines)


def _work(step: dict[str, Any]) -> str:
    text = f"{step['macs']:,} MACs executed, {step['gops']:.2f} GOP/s"
    if step["dense_macs"] != step["macs"]:
        text += f"; {step['dense_macs']:,} if dense, {step['dense_equivalent_gops']:.2f} GOP/s"
    return f"{text} at {step['clock_hz'] / 1e6:g} MHz ({step['clock_is']})"


def _against_dense(step: dict[str, Any]) -> list[tuple[str, str]]:
    """Return speed-up and bound of a sparse step."""
    if step["dense"] is None:
        return []
    cycles = step["dense"]["cycles_predicted"]
    rows = [("speed-up", f"{step['speedup']:.3f} against {cycles:,} cycles dense, predicted")]
    if step["bound"] is not None:
        text = f"{step['bound']:.3f} by the MACs of these layers, {step['of_bound']:.1%} reached"
        rows.append(("bound", text))
    return rows


def _bits(step: dict[str, Any]) -> str:
    if step["cycles_rtl"] is None:
        return "not compared (no RTL)"
    verdict = "yes" if step["bit_exact"] else f"NO, {step['mismatches']} operations differ"
    return f"{verdict}: {step['layers_compared']} operations, {step['values_compared']:,} values"


def _cycles(step: dict[str, Any]) -> str:
    if step["cycles_rtl"] is None:
        return f"{step['cycles_predicted']:,} predicted"
    if step["stall"]:
        return f"{step['cycles_predicted']:,} predicted, {step['cycles_rtl']:,} with stalls"
    equal = "equal" if step["cycles_exact"] else "NOT EQUAL"
    return f"{step['cycles_predicted']:,} predicted, {step['cycles_rtl']:,} on RTL: {equal}"
