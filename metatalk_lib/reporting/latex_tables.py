"""Export of tables as plain LaTeX: `tabular` and rules only, so that a paper needs no package for them but xcolor."""

import re

import pandas as pd

from metatalk_lib.core.errors import ParameterError

BEST, SECOND, GREYED = "best", "second", "grey"
"""Styles of a cell; the empty style is plain."""
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
"""Characters to escape in LaTeX; a bracket at the start of a row would be read as a distance."""
FORMULA = re.compile(r"(\$[^\s$](?:[^$]*[^\s$])?\$(?!\d))")
"""Pattern of a formula, which begins and ends without a space inside its dollar signs, unlike sums of money."""
INTERVAL = re.compile(r"(\S+) (\[[^\]]+\])")
"""Pattern of a value with its interval, which is set below it; side by side, five methods would exceed the page."""


def escape_latex(text: str) -> str:
    """Escape text so that LaTeX prints it; formulas between dollar signs stay unchanged.

    Args:
        text: any text.
    """
    parts = FORMULA.split(text)
    return "".join(part if place % 2 else part.translate(SPECIAL) for place, part in enumerate(parts))


def to_latex(texts: pd.DataFrame, styles: pd.DataFrame, *, caption: str) -> str:
    """Format a table for `\\input`, in small print; each block of the first index level is a separate `tabular`.

    It is not a float: a table longer than a page breaks between its blocks.

    Args:
        texts: texts of the cells, as printed; one or two index levels.
        styles: style of each cell: `best`, `second`, `grey` or empty.
        caption: text above the table.

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
    """Stack lines above each other, aligned with their neighbours at the top or at the bottom."""
    if len(lines) == 1:
        return lines[0]
    return rf"\begin{{tabular}}[{side}]{{@{{}}r@{{}}}}" + r" \\ ".join(lines) + r"\end{tabular}"


def _blocks(index: pd.Index) -> dict[str, dict[str, int]]:
    """Map the title of each block to the names and numbers of its rows."""
    found: dict[str, dict[str, int]] = {}
    for row, name in enumerate(index):
        block, label = name if index.nlevels == 2 else (index.name or "", name)
        found.setdefault(str(block), {})[str(label)] = row
    return found


def _tabular(title: str, columns: list[str], rows: dict[str, list[str]]) -> list[str]:
    # text in brackets goes on a line of its own
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
