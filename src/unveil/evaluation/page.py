"""A report as one HTML file that asks nothing of any other: its pictures are inside. Everything here returns HTML."""

import base64
from collections.abc import Mapping, Sequence
from html import escape

from unveil.evaluation.sheets import PREDICTION, TRUTH, Gallery

STYLE = f"""
body {{ font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; background: #fff; max-width: 1180px; margin: 2em auto;
  padding: 0 1em; }}
h1 {{ font-size: 1.6em; }} h2 {{ font-size: 1.2em; margin-top: 2em; }}
table {{ border-collapse: collapse; }}
td, th {{ padding: .2em .8em; border-bottom: 1px solid #ddd; text-align: right; }}
td:first-child, th:first-child, .facts td {{ text-align: left; }} .facts td:first-child {{ white-space: nowrap; }}
.facts td {{ overflow-wrap: anywhere; vertical-align: top; }} td {{ font-variant-numeric: tabular-nums; }}
.wide {{ overflow-x: auto; }} .note {{ border-left: 4px solid #d55e00; padding-left: .8em; margin: .5em 0; }}
img {{ max-width: 100%; height: auto; }} .faces {{ display: grid; gap: 10px;
  grid-template-columns: repeat(auto-fill, minmax(216px, 1fr)); }}
figure {{ margin: 0; }} figcaption {{ font-size: .8em; overflow-wrap: anywhere; }}
.truth, .prediction {{ display: inline-block; width: .8em; height: .8em; border-radius: 50%; border: 1px solid #222; }}
.truth {{ background: rgb{TRUTH}; }} .prediction {{ background: rgb{PREDICTION}; }}
"""
LEGEND = '<p><span class="truth"></span> truth &nbsp; <span class="prediction"></span> prediction</p>'


def page(title: str, notes: Sequence[str], sections: Sequence[str]) -> str:
    """The whole file; notes, such as that a set is partial, stand first."""
    said = "\n".join(f'<p class="note">{escape(note)}</p>' for note in notes)
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{escape(title)}</title>'
    body = "\n".join([f"<h1>{escape(title)}</h1>", said, *sections])
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'
    )


def section(title: str, *parts: str) -> str:
    return "\n".join([f"<h2>{escape(title)}</h2>", *parts])


def picture(png: bytes, what_it_shows: str) -> str:
    return f'<img alt="{escape(what_it_shows)}" src="{_data("image/png", png)}">'


def table(header: Sequence[str], lines: Sequence[tuple[str, Sequence[str]]]) -> str:
    """A header and lines, each with its name first."""
    head = "".join(f"<th>{escape(title)}</th>" for title in header)
    rows = ("".join(f"<td>{escape(text)}</td>" for text in (name, *cells)) for name, cells in lines)
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def facts(entries: Mapping[str, str]) -> str:
    """What something is, line by line."""
    rows = "\n".join(f"<tr><td>{escape(name)}</td><td>{escape(text)}</td></tr>" for name, text in entries.items())
    return f'<table class="facts"><tbody>\n{rows}\n</tbody></table>'


def gallery(shown: Gallery) -> str:
    figures = "\n".join(
        f'<figure><img alt="{escape(thumbnail.caption)}" src="{_data("image/jpeg", thumbnail.jpeg)}">'
        f"<figcaption>{escape(thumbnail.caption)}</figcaption></figure>"
        for thumbnail in shown.thumbnails
    )
    return section(shown.title, LEGEND, f'<div class="faces">\n{figures}\n</div>')


def _data(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
