"""What the page of a training run shows."""

from typing import Any

from moesaic.reports.figures import metric_name
from moesaic.reports.line_chart import line_chart
from moesaic.reports.training_record import TrainingRecord

CURVES = {
    "loss": "Loss of each epoch",
    "holdout_top1": "Top-1 on the hold-out",
    "holdout_accuracy": "Accuracy on the hold-out",
    "holdout_rmse": "Error of the second task on the hold-out",
}


def training_view(record: TrainingRecord) -> dict[str, Any]:
    """Return the values of `training.html.j2`."""
    curves = []
    for name, title in CURVES.items():
        chart = line_chart([getattr(epoch, name) for epoch in record.history])
        if chart is not None:
            curves.append({"title": title, "chart": chart})
    return {
        "title": f"{record.recipe.get('name', 'a network')}, trained",
        "record": record,
        "curves": curves,
        "metrics": [(metric_name(m.metric), m) for m in record.metrics],
        "settings": _flat(record.recipe),
        "seconds": record.seconds,
    }


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, str]:
    """Return settings by their dotted names."""
    out: dict[str, str] = {}
    for name, content in value.items():
        if isinstance(content, dict):
            out |= _flat(content, f"{prefix}{name}.")
        else:
            out[prefix + name] = "none" if content is None else str(content)
    return out
