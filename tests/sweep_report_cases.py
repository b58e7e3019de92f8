"""Sweeps as their JSON has them, made up, of any size."""

from itertools import product
from typing import Any

VALUES: dict[str, list[Any]] = {
    "rows": [8, 16, 32, 64, 128],
    "columns": [8, 16, 32, 64, 128],
    "lanes": [4, 8, 16, 32, 64],
    "bus_bytes": [4, 8, 16, 32, 64],
    "mapping.attention": ["shared", "plain"],
    "sparsity": [[], ["2:4"]],
}


def made_up(count: int = 40, **changes: Any) -> dict[str, Any]:
    """Return a sweep of `count` points: DSP against latency, each fifth point not to be built."""
    keys = list(product(*VALUES.values()))
    points = [
        _point(n, dict(zip(VALUES, keys[97 * n % len(keys)], strict=True))) for n in range(count)
    ]
    goals = [
        (p["figures"]["latency"], p["figures"]["dsp"], p["number"]) for p in points if p["feasible"]
    ]
    front = [
        number
        for latency, dsp, number in sorted(goals)
        if not any(a <= latency and b <= dsp and (a, b) != (latency, dsp) for a, b, _ in goals)
    ]
    for point in points:
        point["front"] = point["number"] in front
    return {
        "space": {
            "file": "spaces/made-up.yaml",
            "size": len(keys),
            "base": "tiny",
            "workloads": [{"model": "m3vit-tiny", "task": 0, "batch": 1}],
            "objectives": ["latency", "dsp"],
            "constraints": {"dsp": {"min": None, "max": 4096}},
            "sampler": "random",
            "seed": 0,
        },
        "parameters": VALUES,
        "resources_count": {"dsp": "multipliers of the array alone"},
        "points": points,
        "front": front,
        "breakdowns": [
            {"number": number, "cycles": {f"kind{k}": 100 * k + number for k in range(1, 12)}}
            for number in front[:3]
        ],
        "verification": [],
        "computed": count,
        "seconds": 12.5,
        "cpu_seconds_of_points": 11.0,
        "command": "moesaic sweep made-up --out o",
    } | changes


def confirmed(content: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return what RTL says of the first point of the front."""
    number = content["front"][0]
    cycles = content["points"][number]["figures"]["cycles_by_workload"]
    return {
        "number": number,
        "chosen": "best",
        "cycles": cycles,
        "cycles_predicted": cycles,
        "cycles_rtl": cycles,
        "exact": True,
        "failures": [],
        "seconds": 31.4,
    } | changes


def _point(number: int, parameters: dict[str, Any]) -> dict[str, Any]:
    dsp = parameters["rows"] * parameters["columns"]
    compute, bandwidth = 10**8 // dsp, 10**7 // parameters["bus_bytes"]
    slow = 3 if parameters["mapping.attention"] == "plain" else 1
    cycles = max(compute, bandwidth) + slow * 10**6 // parameters["lanes"]
    built, fits = number % 5 != 4, dsp <= 4096
    return {
        "number": number,
        "parameters": parameters,
        "figures": {
            "cycles": cycles,
            "cycles_floor": max(compute, bandwidth),
            "floor_compute": compute,
            "floor_bandwidth": bandwidth,
            "latency": cycles / 10**8,
            "throughput": 10**8 / cycles,
            "dsp": dsp,
            "fits": True,
            "cycles_by_workload": [cycles],
        }
        if built
        else None,
        "problem": None if built else "act_words must be at least 99, not 9",
        "feasible": built and fits,
        "violated": [] if built and fits else ["dsp"] if built else ["valid"],
        "front": False,
        "cpu_seconds": 0.02,
    }
