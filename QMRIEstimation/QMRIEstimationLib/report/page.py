"""The frame of every HTML page: one self-contained file without script, and text that cannot become markup."""

import re
from html import escape

STYLE = """
:root { --ink: #1d2530; --soft: #5b6675; --line: #d9dee5; --paper: #fff; --tint: #f4f6f8; --accent: #1f5f8b;
  --warn: #8a5300; --warn-tint: #fff6e0; --bad: #a11d1d; --bad-tint: #fdecec; --good: #1d6b3a; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 0 1.2rem 3rem; max-width: 70rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", Arial, sans-serif; }
header { padding: 1.2rem 0 .8rem; border-bottom: 2px solid var(--ink); }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; overflow-wrap: anywhere; }
h2 { margin: 2.2rem 0 .6rem; font-size: 1.25rem; }
h3 { margin: 1.2rem 0 .3rem; font-size: 1rem; }
p { margin: .4rem 0; }
a { color: var(--accent); }
.research { display: inline-block; margin: .5rem 0 0; padding: .1rem .6rem; border: 1px solid var(--bad);
  border-radius: .3rem; color: var(--bad); font-weight: 600; font-size: .85rem; }
.soft, figcaption, caption { color: var(--soft); font-size: .875rem; }
nav { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .8rem 0 0; font-size: .9rem; }
.notes { margin: 1.2rem 0; padding: .7rem 1rem; border-left: .3rem solid #d99a1c; background: var(--warn-tint); }
.notes h2 { margin: 0 0 .3rem; font-size: 1.05rem; color: var(--warn); }
.notes ul { margin: 0; padding-left: 1.2rem; } .notes li { overflow-wrap: anywhere; }
.notes.bad { border-color: var(--bad); background: var(--bad-tint); } .notes.bad h2 { color: var(--bad); }
.notes.good { border-color: #4b9c6a; background: #eef8f1; } .notes.good h2 { color: var(--good); margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .3rem; }
th, td { padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; } td.n, th.n { text-align: right; } td.n { white-space: nowrap; }
td { overflow-wrap: break-word; } td a { white-space: nowrap; }
.tiles { display: flex; flex-wrap: wrap; gap: 2px; background: #000; border-radius: .3rem; overflow: hidden; }
.tiles figure { margin: 0; flex-basis: 0; display: flex; flex-direction: column; }
.tiles img { display: block; width: 100%; height: auto; margin: auto 0; }
.tiles figcaption { color: #b8c0ca; font-size: .75rem; text-align: center; padding-bottom: .2rem; }
.bar { margin: .4rem 0 .6rem; } .bar b { color: var(--ink); }
.bar p { margin: 0 0 .2rem; font-size: .875rem; color: var(--soft); }
.bar img { display: block; width: 100%; height: .8rem; border: 1px solid #888; }
.ticks { position: relative; height: 1.3em; font-size: .8rem; font-variant-numeric: tabular-nums; }
.ticks span { position: absolute; transform: translateX(-50%); }
.ticks span:first-child { transform: none; } .ticks span:last-child { transform: translateX(-100%); }
.swatch { display: inline-block; width: .75em; height: .75em; border: 1px solid #888; background: #000; }
.pair { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem 1.6rem; align-items: start; }
svg { display: block; width: 100%; height: auto; }
details { margin: .6rem 0; } summary { cursor: pointer; font-weight: 600; }
code, .mono { font-family: ui-monospace, Consolas, "Liberation Mono", monospace; font-size: .8rem; }
.mono { overflow-wrap: anywhere; }
.thumb { width: 84px; display: block; border-radius: .2rem; background: #000; }
.failed { color: var(--bad); font-weight: 600; } .done { color: var(--good); font-weight: 600; }
footer { margin-top: 2.5rem; padding-top: .6rem; border-top: 1px solid var(--line); }
@media (max-width: 42rem) {
  body { padding: 0 .8rem 2rem; } .pair { grid-template-columns: minmax(0, 1fr); }
  .tiles:not(.small) figure:first-child { flex-basis: 100%; }
}
@media print {
  @page { size: A4; margin: 14mm; }
  body { max-width: none; padding: 0; font-size: 10pt; } nav { display: none; }
  h2, h3, summary { break-after: avoid; } .tiles, .bar, .map, .pair > div, tr, svg, .notes { break-inside: avoid; }
  .wide { overflow: visible; } table { font-size: 7.5pt; } th, td { padding: .15rem .35rem .15rem 0; }
  .lesion .tiles figure { width: 14.2% !important; } .lesion .pair { grid-template-columns: 1fr 1fr; }
  .lesion svg { max-height: 28mm; } .lesion p { margin: .1rem 0; font-size: 8pt; line-height: 1.3; }
  .lesion figcaption { font-size: 5.5pt; line-height: 1.1; } .lesion h3 { margin: .5rem 0 .1rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""


class Html(str):
    """Text that is already markup; everything else is escaped when it enters a page."""

    __slots__ = ()


def html(value):
    """Markup for a value: escaped, unless it is Html; n/a for None."""
    if isinstance(value, Html):
        return value
    return Html("n/a" if value is None else escape(str(value)))


def page(title, body):
    """A whole document. `body` is Html."""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(header, rows, *, caption="", numeric=()):
    """A table; cells are escaped unless Html, columns in `numeric` (indices) stand at the right."""

    def row(cells, tag):
        inside = (f"<{tag}{' class=n' if i in numeric else ''}>{html(c)}</{tag}>" for i, c in enumerate(cells))
        return f"<tr>{''.join(inside)}</tr>\n"

    head = f"<thead>{row(header, 'th')}</thead>\n" if header else ""
    title = f"<caption>{html(caption)}</caption>" if caption else ""
    body = "".join(row(cells, "td") for cells in rows)
    return Html(f'<div class="wide"><table>{title}{head}<tbody>\n{body}</tbody></table></div>\n')


def notes(title, sentences, kind=""):
    """A box of sentences that must be read first; `kind` is "", "bad" or "good"."""
    items = "".join(f"<li>{html(sentence)}</li>" for sentence in sentences)
    items = f"<ul>{items}</ul>" if items else ""
    return Html(f'<section class="notes {kind}"><h2>{html(title)}</h2>{items}</section>\n')


def details(summary, body, *, shown=False):
    """A part that opens on a click; `body` is Html."""
    return Html(f"<details{' open' if shown else ''}><summary>{html(summary)}</summary>\n{body}</details>\n")


def join(*parts):
    """Pieces of markup one after the other."""
    return Html("".join(html(part) for part in parts))


def section_of(text, target):
    """The section with an id of a page that was written before, Html; empty where it has none."""
    found = re.search(f'<section id="{re.escape(target)}">.*?</section>\n', text, re.DOTALL)
    return Html(found[0] if found else "")
