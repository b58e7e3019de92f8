"""What tests see of a page: its elements, texts and tables, and what a browser makes of it."""

import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
HOSTILE = "</script><script>alert('x')</script><img src=x>"


class Page(HTMLParser):
    """Collects elements with their attributes, the text of each, and the cells of tables.

    `tables` has, by the table's id, a list of texts for each row; `data` has the cells' numbers.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.data: dict[str, list[list[str | None]]] = {}
        self._table = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.elements.append((tag, found))
        if tag == "table":
            self._table = str(found.get("id"))
            self.tables[self._table], self.data[self._table] = [], []
        elif tag == "tr":
            self.tables[self._table].append([])
            self.data[self._table].append([])
        elif tag in ("td", "th"):
            self.tables[self._table][-1].append("")
            self.data[self._table][-1].append(found.get("data-value"))

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._table = ""

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        if self._table and self.tables[self._table] and self.tables[self._table][-1]:
            self.tables[self._table][-1][-1] += data.strip()

    def values(self, attribute: str) -> list[str]:
        return [str(attrs[attribute]) for _, attrs in self.elements if attribute in attrs]


def in_browser(
    page: str, checks: str, folder: Path, width: int, *, when: str = "true"
) -> dict[str, Any]:
    """Return what the statements `checks` put into ``out``, half a second after the page is there.

    They wait until the condition `when` holds. The console must stay empty.
    """
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.fail("no browser to look at the report with: apt-get install chromium")
    script = (
        "<script>setTimeout(function check() { "
        f"if (!({when})) return void setTimeout(check, 50); const out = {{}};\n{checks}\n"
        "document.documentElement.dataset.checks = JSON.stringify(out); }, 500);</script>"
    )
    file = folder / "page.html"
    file.write_text(page.replace("</body>", f"{script}</body>"), encoding="utf-8")
    seen = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=8000"),
            *(f"--user-data-dir={folder / 'profile'}", f"--window-size={width},2000"),
            *("--dump-dom", file.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    assert [line for line in seen.stderr.splitlines() if "CONSOLE" in line] == []
    found = re.search(r'data-checks="([^"]*)"', seen.stdout)
    assert found
    return dict(json.loads(unescape(found[1])))
