"""Pieces of one HTML page that needs no other file: every text is escaped, no host is asked."""

import html
import re
from collections.abc import Sequence

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_NUMBER = re.compile(r"[-+\d.,%e]*")
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --page: #fff; }
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 0 1rem 4rem;
  background: var(--page); color: #1b1f24; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171a; }
  body { color: #e6e8ea; }
}
h1, h2, h3 { line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line); }
figure { margin: 1rem 0; }
/* A shade at the side where there is more to be scrolled to. */
.wide { overflow-x: auto; background:
  linear-gradient(90deg, var(--page) 50%, #0000) 0 0 / 2rem 100% no-repeat local,
  linear-gradient(-90deg, var(--page) 50%, #0000) 100% 0 / 2rem 100% no-repeat local,
  linear-gradient(90deg, #0005, #0000) 0 0 / .6rem 100% no-repeat scroll,
  linear-gradient(-90deg, #0005, #0000) 100% 0 / .6rem 100% no-repeat scroll; }
.wide svg { display: block; height: auto; max-width: none; }
figcaption, caption { text-align: left; font-size: .9rem; padding: .3rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
th[scope=row], .words, thead th:first-child { text-align: left; }
th[scope=row] { font-weight: normal; max-width: 24rem; overflow-wrap: break-word; }
summary { cursor: pointer; padding: .3rem 0; }
.note { border-left: .3rem solid #d9822b; padding-left: .8rem; }
"""


def text(value: object) -> str:
    """Return a text as HTML shows it, without characters that steer a terminal or turn lines."""
    return html.escape(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", str(value)))


def heading(level: int, value: object) -> str:
    """Return a heading."""
    return f"<h{level}>{text(value)}</h{level}>"


def paragraph(value: object) -> str:
    """Return a paragraph."""
    return f"<p>{text(value)}</p>"


def table(
    caption: str,
    header: Sequence[object],
    rows: Sequence[Sequence[object]],
    *,
    name: str = "",
    is_shown: bool = True,
) -> str:
    """Return a table whose first column heads its rows; folded away unless it is shown.

    Parameters
    ----------
    name : str
        The id that programs find it by.
    """
    head = "".join(f'<th scope="col">{text(it)}</th>' for it in header)
    lines = []
    for first, *rest in rows:
        cells = "".join(_cell(it) for it in rest)
        lines.append(f'<tr><th scope="row">{text(first)}</th>{cells}</tr>')
    content = (
        f"<table{_attribute('id', name)}><caption>{text(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
    )
    content = _wide(content, caption)
    if is_shown:
        return content
    return f"<details><summary>As a table: {text(caption)}</summary>{content}</details>"


def _cell(value: object) -> str:
    css = "" if _NUMBER.fullmatch(str(value)) else "words"
    return f"<td{_attribute('class', css)}>{text(value)}</td>"


def figure(svg: str, caption: str) -> str:
    """Return a picture with what it shows in words."""
    return f"<figure>{_wide(svg, caption)}<figcaption>{text(caption)}</figcaption></figure>"


def _wide(content: str, label: str) -> str:
    """Return what scrolls by itself on a narrow screen, with the keyboard as well."""
    label = text(label)
    return f'<div class="wide" role="region" tabindex="0" aria-label="{label}">{content}</div>'


def _attribute(name: str, value: str) -> str:
    return f' {name}="{text(value)}"' if value else ""


def page(title: str, parts: Sequence[str]) -> str:
    """Return a whole page; its policy forbids scripts, and requests to any host."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{_STYLE}</style></head>\n<body><main>\n"
        + "\n".join(parts)
        + "\n</main></body></html>\n"
    )
