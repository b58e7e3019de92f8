"""Plotly's script as text that a page can hold: compressed, because it is 4.8 MB as it stands."""

import base64
import gzip
from functools import cache

from markupsafe import Markup


@cache
def plotly_script() -> Markup:
    """Return the script in gzip and base64, 2.0 MB; `plotly.js` of ours undoes both."""
    from plotly.offline import get_plotlyjs

    packed = gzip.compress(get_plotlyjs().encode(), 9, mtime=0)
    return Markup(base64.b64encode(packed).decode())  # noqa: S704 (letters, digits, + / =)
