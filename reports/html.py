"""HTML reports: one file that needs no network, with styles, scripts and data inside."""

import json
import os
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from moesaic.models.errors import InputError
from moesaic.reports import figures
from moesaic.reports.ablation_record import ABLATION_FILE, load_ablation
from moesaic.reports.ablation_view import ablation_view
from moesaic.reports.plotly_script import plotly_script
from moesaic.reports.run_record import RUN_FILE, load_run
from moesaic.reports.run_view import run_view
from moesaic.reports.step_record import STEP_FILE, load_step
from moesaic.reports.step_view import step_view
from moesaic.reports.sweep_read import load_sweep
from moesaic.reports.sweep_record import JSON_FILE as SWEEP_FILE
from moesaic.reports.sweep_view import figure_title, sweep_view, value_text
from moesaic.reports.training_record import TRAINING_FILE, load_training
from moesaic.reports.training_view import training_view

REPORT_FILE = "report.html"
_TEMPLATES = Path(__file__).parent / "templates"


def build_report(directory: Path) -> Path:
    """Write the report of a directory and return its path.

    Parameters
    ----------
    directory : Path
        Holds `run.json`, as `moesaic run` leaves it, `step.json` of `moesaic step`,
        `training.json` of `moesaic train`, `ablation.json` of `moesaic ablate` or `sweep.json` of
        `moesaic sweep`; `report.html` is put beside it.

    Raises
    ------
    InputError
        If the file is missing, truncated or of another kind, or the report cannot be written.
    """
    target = directory / REPORT_FILE
    if (directory / ABLATION_FILE).exists():
        view = ablation_view(load_ablation(directory))
        page = render("ablation.html.j2", **view, source=ABLATION_FILE)
    elif (directory / STEP_FILE).exists():
        page = render("step.html.j2", **step_view(load_step(directory)), source=STEP_FILE)
    elif (directory / TRAINING_FILE).exists() and not (directory / RUN_FILE).exists():
        view = training_view(load_training(directory))
        page = render("training.html.j2", **view, source=TRAINING_FILE)
    elif (directory / SWEEP_FILE).exists():
        page = render("sweep.html.j2", **sweep_view(load_sweep(directory)), source=SWEEP_FILE)
    else:
        page = render("run.html.j2", **run_view(load_run(directory)), source=RUN_FILE)
    _write(target, page)
    return target


def render(template: str, **values: Any) -> str:
    """Return a page from one of the templates; text from `values` is escaped."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["inline"] = _inline
    environment.globals["plotly"] = plotly_script
    environment.globals["metric_text"] = figures.metric_text
    environment.filters |= {
        "count": figures.count,
        "plain": figures.plain,
        "short": figures.short,
        "size": figures.size,
        "duration": figures.duration,
        "percent": figures.percent,
        "times": figures.times,
        "metric_name": figures.metric_name,
        "figure_title": figure_title,
        "value_text": value_text,
        "script_json": script_json,
    }
    return environment.get_template(template).render(**values)


def script_json(value: object) -> Markup:
    """Return JSON that may stand inside a script element: ``<`` is written as an escape."""
    text = json.dumps(value, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))  # noqa: S704


def _inline(name: str) -> Markup:
    """Return a style sheet or script of ours as it stands."""
    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704


def _write(target: Path, text: str) -> None:
    """Write a file, all or nothing."""
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error
    finally:
        scratch.unlink(missing_ok=True)
