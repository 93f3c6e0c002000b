"""Tables as plain LaTeX: `tabular` and rules alone, so that a paper needs no package for them but xcolor."""

import re

import pandas as pd

from metatalk_lib.core.errors import ParameterError

BEST, SECOND, GREYED = "best", "second", "grey"
"""How a cell may be set; empty is plain."""
GREY_RGB = "888888"
STYLES = {
    BEST: r"\textbf{%s}",
    SECOND: r"\underline{%s}",
    GREYED: rf"\textcolor[HTML]{{{GREY_RGB}}}{{%s}}",
    "": "%s",
}
SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        "[": "{[}",
        **{sign: rf"\{sign}" for sign in "&%$#_{}"},
    }
)
"""What does not print as itself in LaTeX; a bracket at the start of a row would be read as a distance."""
FORMULA = re.compile(r"(\$[^\s$](?:[^$]*[^\s$])?\$(?!\d))")
"""A formula begins and ends without a space inside its dollar signs; sums of money do not."""
INTERVAL = re.compile(r"(\S+) (\[[^\]]+\])")
"""A value and its interval, which is set below it: side by side five methods are wider than a page."""


def escape_latex(text: str) -> str:
    """Text as LaTeX that prints it; formulas between dollar signs stay as they are.

    Args:
        text: any.
    """
    parts = FORMULA.split(text)
    return "".join(part if place % 2 else part.translate(SPECIAL) for place, part in enumerate(parts))


def to_latex(texts: pd.DataFrame, styles: pd.DataFrame, *, caption: str) -> str:
    """A table to `\\input`, in small print; each block of the first index level is a `tabular` of its own.

    No float: a table that is longer than a page breaks between its blocks.

    Args:
        texts: cells as they are to be printed; one or two index levels.
        styles: `best`, `second`, `grey` or empty for each cell.
        caption: stands above the table.

    Raises:
        ParameterError: the two tables differ in shape, or a style is unknown.
    """
    unknown = sorted(set(styles.to_numpy().ravel()) - set(STYLES))
    if texts.shape != styles.shape or unknown:
        raise ParameterError(f"to_latex: shapes {texts.shape} and {styles.shape}, unknown styles {unknown or 'none'}.")
    cells = [
        [_set_cell(text, style) for text, style in zip(*pair, strict=True)]
        for pair in zip(texts.to_numpy(), styles.to_numpy(), strict=True)
    ]
    lines = [
        r"% \input this; the preamble needs \usepackage{xcolor}",
        r"{\scriptsize\setlength{\tabcolsep}{2.5pt}\setlength{\parindent}{0pt}",
        rf"{escape_latex(caption)}\par\medskip",
    ]
    for title, rows in _blocks(texts.index).items():
        lines += _tabular(
            title, [str(name) for name in texts.columns], {name: cells[row] for name, row in rows.items()}
        )
    return "\n".join([*lines, "}", ""])


def _set_cell(text: str, style: str) -> str:
    if not text:
        return ""
    if parts := INTERVAL.fullmatch(text):
        return _stack("t", _set_cell(parts[1], style), rf"\tiny {parts[2]}")
    return STYLES[style] % escape_latex(text)


def _stack(side: str, *lines: str) -> str:
    """Lines above each other, on a level with their neighbours at the top or at the bottom."""
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[{side}]{{@{{}}r@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _blocks(index: pd.Index) -> dict[str, dict[str, int]]:
    """Title of each block to the names and numbers of its rows."""
    found: dict[str, dict[str, int]] = {}
    for row, name in enumerate(index):
        block, label = name if index.nlevels == 2 else (index.name or "", name)
        found.setdefault(str(block), {})[str(label)] = row
    return found


def _tabular(title: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    # what stands in brackets goes on a line of its own
    heads = [_stack("b", *escape_latex(name).replace(" (", "\n(").split("\n")) for name in columns]
    return [
        rf"\begin{{tabular}}{{l{'r' * len(columns)}}}",
        r"\hline",
        " & ".join([rf"\textit{{{escape_latex(title)}}}", *heads]) + r" \\",
        r"\hline",
        *(" & ".join([escape_latex(name), *cells]) + r" \\" for name, cells in rows.items()),
        r"\hline",
        r"\end{tabular}\par\medskip",
    ]
