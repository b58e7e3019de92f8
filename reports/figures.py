"""How reports write numbers."""

NONE = "\N{EN DASH}"
_PREFIXES = ("", "k", "M", "G", "T", "P")
_BINARY = ("bytes", "KiB", "MiB", "GiB", "TiB")


def count(value: float | None) -> str:
    """Write a whole number with thousands apart; a dash for None."""
    return NONE if value is None else f"{value:,.0f}"


def plain(value: float | None) -> str:
    """Write a number with thousands apart and what it has behind the point; a dash for None."""
    return NONE if value is None else f"{value:,.10g}"


def short(value: float) -> str:
    """Write a number with three digits and a prefix, such as ``7.88 M``."""
    step = 0
    while abs(value) >= 999.5 and step < len(_PREFIXES) - 1:
        value /= 1000
        step += 1
    return f"{value:.3g} {_PREFIXES[step]}".rstrip() if step else f"{value:.3g}"


def size(value: float) -> str:
    """Write bytes with a binary prefix."""
    step = 0
    while abs(value) >= 1024 and step < len(_BINARY) - 1:
        value /= 1024
        step += 1
    return f"{value:.1f} {_BINARY[step]}" if step else f"{value:.0f} bytes"


def duration(seconds: float) -> str:
    """Write a time with three or four digits, such as ``1.350 ms``."""
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale:
            return f"{seconds / scale:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def percent(value: float | None, digits: int = 1) -> str:
    """Write a share of 1 as a percentage; a dash for None."""
    return NONE if value is None else f"{100 * value:.{digits}f} %"


def times(value: float | None, digits: int = 2) -> str:
    """Write a ratio such as ``1.34 \N{MULTIPLICATION SIGN}``; a dash for None."""
    return NONE if value is None else f"{value:.{digits}f} \N{MULTIPLICATION SIGN}"


def metric_name(metric: str) -> str:
    """Return what people call a metric."""
    return {"top1": "top-1", "accuracy": "patch accuracy"}.get(metric, metric)


def metric_text(metric: str, value: float | None) -> str:
    """Write a metric's value: an error as it is, anything else as a percentage."""
    if value is None or metric != "rmse":
        return percent(value)
    return f"{value:.4f}"
