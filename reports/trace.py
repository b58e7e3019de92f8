"""Chrome trace events of a run, for Perfetto: one track per unit, one microsecond per cycle."""

from typing import Any

from moesaic.models.commands import UNITS


def trace_events(run: dict[str, Any]) -> dict[str, Any]:
    """Return the trace of a run's JSON.

    ``ts`` and ``dur`` are cycles, shown as microseconds. A unit takes a command while its pipeline
    holds the one before; slices begin where that one ends, so that they lie side by side, and
    ``args`` holds the cycle in which the command was taken.
    """
    source = "model" if run["cycles_rtl"] is None else "RTL"
    title = f"{run['model']} on {run['accel']} ({source}; 1 us is 1 cycle)"
    events: list[dict[str, Any]] = [_name("process_name", 0, title)]
    tracks = {unit.name.lower(): unit + 1 for unit in UNITS}
    events += [_name("thread_name", number, unit) for unit, number in tracks.items()]
    free = dict.fromkeys(tracks, 0)
    for command in run["timeline"]:
        unit, taken, end = command["unit"], command["start"], command["end"] + 1
        start = max(taken, free[unit])
        free[unit] = max(end, start)
        part = "" if command["part"] < 0 else f"/{command['part']}"
        events.append(
            {
                "ph": "X",
                "pid": 1,
                "tid": tracks[unit],
                "ts": start,
                "dur": free[unit] - start,
                "name": f"{command['node']}{part}",
                "cat": unit,
                "args": {"taken": taken, "done": command["end"]},
            }
        )
    return {
        "traceEvents": events,
        "displayTimeUnit": "ns",
        "otherData": {
            "cycles": run["cycles_predicted"] if source == "model" else run["cycles_rtl"],
            "clock_hz": run["clock_hz"],
            "clock_is": run["clock_is"],
            "source": source,
            "unit": "1 us = 1 cycle",
        },
    }


def _name(kind: str, track: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "pid": 1, "tid": track, "name": kind, "args": {"name": name}}
