"""Matplotlib figures as inline SVG that takes its colours and its font from the page around it.

Matplotlib knows no CSS variables, so each series is drawn in a stand-in colour that is then replaced by the
variable of the same meaning. One picture thus serves the light page, the dark page and the printed one.
"""

import html
import io
import re

from matplotlib.figure import Figure

STAND_INS = {
    "#010101": "var(--ink)",
    "#020202": "var(--muted)",
    "#030303": "var(--rule)",
    "#040404": "var(--paper)",
    "#050505": "var(--student)",
    "#060606": "var(--control)",
    "#080808": "var(--bad)",
    "#070701": "var(--teacher-1)",
    "#070702": "var(--teacher-2)",
    "#070703": "var(--teacher-3)",
    "#070704": "var(--teacher-4)",
}
INK, MUTED, RULE, PAPER, STUDENT, CONTROL, WORSE, *TEACHERS = STAND_INS
WIDTH = 9.6  # inches; the page scales a figure to its own width
STYLE = {
    "svg.fonttype": "none",  # text stays text: it can be searched, and takes the page's font
    "text.parse_math": False,  # a run's name may hold a dollar sign
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": RULE,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "xtick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.color": RULE,
    "ytick.labelcolor": MUTED,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
}


def svg(figure: Figure, label: str) -> str:
    """The figure as an <svg> element without size, metadata, namespaces, or ids that clash on a page."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]+"', text).group()
    text = re.sub(r"<svg[^>]*>", f'<svg {box} role="img" aria-label="{html.escape(label)}">', text, count=1)
    text = text.replace("xlink:href", "href")
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))  # the others recur in every figure
    text = re.sub(r' id="([^"]*)"', lambda found: found.group() if found[1] in used else "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]*", r"font-size: \1", text)
    for stand_in, variable in STAND_INS.items():
        text = text.replace(stand_in, variable)
    return text
