"""Tables as LaTeX: what has a meaning there is escaped, cells are set as told, blocks stand apart."""

import pandas as pd
import pytest

from metatalk_lib.core.errors import ParameterError
from metatalk_lib.reporting.latex_tables import escape_latex, to_latex


def make(styles: list[list[str]]) -> str:
    index = pd.MultiIndex.from_tuples([("A", "SSIM"), ("B_1", "50 %")], names=["character", "metric"])
    texts = pd.DataFrame([["0.5", "not yet"], ["0.98 [0.97, 0.99]", ""]], index=index, columns=["Ours", "R&D (paper)"])
    return to_latex(texts, pd.DataFrame(styles, index=index, columns=texts.columns), caption="100 % of A & B_1.")


def test_what_has_a_meaning_in_latex_is_escaped() -> None:
    assert escape_latex(r"5 % of R&D_1 #2 {x} $3") == r"5 \% of R\&D\_1 \#2 \{x\} \$3"
    assert escape_latex("a\\b~c^d") == r"a\textbackslash{}b\textasciitilde{}c\textasciicircum{}d"
    assert escape_latex("[1, 2]") == "{[}1, 2]"
    assert escape_latex(r"$\frac{a_1}{b}$") == r"$\frac{a_1}{b}$"
    assert escape_latex(r"50 % of $\mu, s_1$ & $x$.") == r"50 \% of $\mu, s_1$ \& $x$."
    assert escape_latex("$5 and $6 & more") == r"\$5 and \$6 \& more"


def test_cells_are_set_as_told_and_intervals_stand_below() -> None:
    text = make([["best", "grey"], ["second", ""]])
    assert r"SSIM & \textbf{0.5} & \textcolor[HTML]{888888}{not yet} \\" in text
    assert r"50 \% & \begin{tabular}[t]{@{}r@{}}\underline{0.98} \\ \tiny [0.97, 0.99]\end{tabular} &  \\" in text
    assert r"R\&D \\ (paper)" in text
    assert r"100 \% of A \& B\_1.\par" in text


def test_every_block_is_a_tabular_and_no_package_but_xcolor_is_used() -> None:
    text = make([["", ""], ["", ""]])
    assert text.count(r"\begin{tabular}{lrr}") == 2
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}")
    assert text.count("{") - text.count("}") == 0
    assert r"\textit{B\_1}" in text
    assert not any(word in text for word in ("toprule", "multirow", "resizebox", "longtable"))
    flat = pd.DataFrame([["1"]], index=pd.Index(["x"], name="video"), columns=["a"])
    assert r"\textit{video} & a \\" in to_latex(flat, flat.replace("1", ""), caption="")


def test_unknown_styles_and_other_shapes_are_refused() -> None:
    with pytest.raises(ParameterError, match="unknown styles \\['bold'\\]"):
        make([["bold", ""], ["", ""]])
    one = pd.DataFrame([["1"]])
    with pytest.raises(ParameterError, match="shapes \\(1, 1\\) and \\(0, 0\\)"):
        to_latex(one, pd.DataFrame(), caption="")
