"""Catalogue of all evaluation measures: direction, ideal value, unit, formula and region.

Tables use it to mark their best values, figures to orient their axes, and notebooks to explain their columns. Measures
computed with an open network carry `(open)` and name the measure that they stand in for; the two are never compared.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from metatalk_lib.core.errors import ParameterError

Direction = Literal["lower", "higher", "target"]

FRECHET_FORMULA = r"\|\mu_1 - \mu_2\|^2 + \mathrm{Tr}(\Sigma_1 + \Sigma_2 - 2 (\Sigma_1 \Sigma_2)^{1/2})"
LSE_D_FORMULA = r"\min_k d(k), \quad d(k) = \frac{1}{N} \sum_f \|v_f - a_{f+k} + \varepsilon\|"
LSE_C_FORMULA = r"\mathrm{median}_k\, d(k) - \min_k d(k)"
SSIM_FORMULA = (
    r"\frac{(2 \mu_x \mu_y + c_1)(2 \sigma_{xy} + c_2)}{(\mu_x^2 + \mu_y^2 + c_1)(\sigma_x^2 + \sigma_y^2 + c_2)}"
)
SYNCNET_REGION = "face crop of 224 px, 25 frames a second, offsets of up to 15 frames"
CROP_REGION = "whole crop, mean over pixels and frames"
OPENING_REGION = "mouth opening of every frame, px"
WANG = "Wang et al. 2004"
LSE_SOURCE = "Prajwal et al. 2020, section 4.2"


@dataclass(frozen=True)
class Metric:
    """One evaluation measure.

    Attributes:
        name: name of the measure as shown in tables, without the unit.
        direction: `lower` or `higher` where that is better, `target` where nearer to the ideal value is better.
        ideal: best score that the original video can reach; infinity where there is no bound.
        unit: unit of the values; empty where there is none.
        formula: definition in LaTeX math mode, without extra packages.
        region: pixels or frames over which the measure is computed.
        source: publication or code that defines the measure.
        stands_for: name of the paper's measure that an open measure stands in for; empty for all others.
    """

    name: str
    direction: Direction
    ideal: float
    unit: str
    formula: str
    region: str
    source: str
    stands_for: str = ""

    @property
    def label(self) -> str:
        """Name with the unit, such as `PSNR in mask, dB`."""
        return f"{self.name}, {self.unit}" if self.unit else self.name

    @property
    def advice(self) -> str:
        """The direction in words, for an axis label."""
        if self.direction == "target":
            return f"{self.ideal:g} is ideal"
        return f"{self.direction} is better"


METRICS = (
    Metric("LSE-D", "lower", 0.0, "", LSE_D_FORMULA, SYNCNET_REGION, LSE_SOURCE),
    Metric(
        "LSE-D (open)",
        "lower",
        0.0,
        "",
        LSE_D_FORMULA,
        SYNCNET_REGION,
        f"{LSE_SOURCE}; this project's SyncNet",
        "LSE-D",
    ),
    Metric("LSE-C", "higher", math.inf, "", LSE_C_FORMULA, SYNCNET_REGION, LSE_SOURCE),
    Metric(
        "LSE-C (open)",
        "higher",
        math.inf,
        "",
        LSE_C_FORMULA,
        SYNCNET_REGION,
        f"{LSE_SOURCE}; this project's SyncNet",
        "LSE-C",
    ),
    Metric(
        "FID",
        "lower",
        0.0,
        "",
        FRECHET_FORMULA,
        "whole crop, all frames; depends on their number",
        "Heusel et al. 2017, eq. 6; features of Inception",
    ),
    Metric(
        "FFD (open)",
        "lower",
        0.0,
        "",
        FRECHET_FORMULA,
        "face of 150 px, all frames; depends on their number",
        "Heusel et al. 2017, eq. 6; features of dlib's face network",
        "FID",
    ),
    Metric("SSIM", "higher", 1.0, "", SSIM_FORMULA, f"{CROP_REGION}; Gaussian window of 11 px", WANG),
    Metric("SSIM uniform", "higher", 1.0, "", SSIM_FORMULA, f"{CROP_REGION}; uniform window of 7 px", "scikit-image"),
    Metric(
        "SSIM zero-padded",
        "higher",
        1.0,
        "",
        SSIM_FORMULA,
        f"{CROP_REGION} to its border; Gaussian window of 11 px over zeros outside",
        "Po-Hsun-Su/pytorch-ssim",
    ),
    Metric("SSIM in mask", "higher", 1.0, "", SSIM_FORMULA, "painted region, mean over pixels and frames", WANG),
    Metric(
        "CW-SSIM in mask",
        "higher",
        1.0,
        "",
        r"\frac{2 |\sum c_x c_y^*| + K}{\sum |c_x|^2 + \sum |c_y|^2 + K}",
        "painted region, six orientations of the two finest octaves, mean over bands, pixels and frames",
        "Sampat et al. 2009",
    ),
    Metric(
        "PSNR in mask",
        "higher",
        math.inf,
        "dB",
        r"10 \log_{10} \frac{255^2}{\mathrm{MSE}}",
        "painted region, squared error over all frames",
        "the usual definition",
    ),
    Metric(
        "sharpness ratio in mask",
        "target",
        1.0,
        "",
        r"\frac{\mathrm{mean} \sqrt{Y_x^2 + Y_y^2}}{\mathrm{mean} \sqrt{\hat{Y}_x^2 + \hat{Y}_y^2}}",
        "painted region without its rim, mean over frames",
        "original to this project",
    ),
    Metric(
        "mouth landmark distance",
        "lower",
        0.0,
        "%",
        r"\frac{100}{20\, T w} \sum_{t, l} \|p_{tl} - \hat{p}_{tl}\|",
        "twenty landmarks of the mouth, mean over frames, of the original's face width w",
        "original to this project, after the usual LMD",
    ),
    Metric(
        "opening r", "higher", 1.0, "", r"\mathrm{corr}(o_t, \hat{o}_t)", OPENING_REGION, "original to this project"
    ),
    Metric(
        "opening r, best lag",
        "higher",
        1.0,
        "",
        r"\max_{|k| \leq 10} \mathrm{corr}(o_{t+k}, \hat{o}_t)",
        OPENING_REGION,
        "original to this project",
    ),
    Metric(
        "best lag",
        "target",
        0.0,
        "frames",
        r"\arg\max_{|k| \leq 10} \mathrm{corr}(o_{t+k}, \hat{o}_t)",
        OPENING_REGION,
        "original to this project",
    ),
    Metric(
        "envelope r",
        "higher",
        1.0,
        "",
        r"\mathrm{corr}(o_t, e_t)",
        "mouth opening and loudness of every frame; weak even for the truth",
        "original to this project",
    ),
    Metric(
        "likeness",
        "higher",
        1.0,
        "",
        r"\frac{1}{T} \sum_t \frac{f_t \cdot \hat{f}_t}{\|f_t\| \, \|\hat{f}_t\|}",
        "face of 150 px, mean over frames",
        "original to this project, on dlib's features",
    ),
    Metric(
        "flicker ratio",
        "target",
        1.0,
        "",
        r"\frac{\mathrm{mean} (Y_t - Y_{t-1})^2}{\mathrm{mean} (\hat{Y}_t - \hat{Y}_{t-1})^2}",
        "painted region, pairs of consecutive frames",
        "original to this project",
    ),
    Metric(
        "offset",
        "target",
        0.0,
        "frames",
        r"-\arg\min_k d(k)",
        f"{SYNCNET_REGION}; positive where the sound comes first",
        "joonson/syncnet_python",
    ),
)
SYMBOLS = (
    r"$v, a$: SyncNet's vectors of face and sound; $\mu, \Sigma$: means and covariances of features; $\mu, \sigma$ "
    r"with $x, y$: of images in a window; $Y$: luma, lower $x, y$ its derivatives; $p$: landmark; $o$: mouth opening; "
    r"$e$: loudness; $f$: features of a face; $t$: frame; a hat: of the original video."
)
"""Legend of the symbols in the formulas."""


def find_metric(name: str) -> Metric:
    """Find a measure by its name, with or without the unit.

    Args:
        name: such as `PSNR in mask` or `PSNR in mask, dB`.

    Raises:
        ParameterError: there is no measure of that name.
    """
    for metric in METRICS:
        if name in (metric.name, metric.label):
            return metric
    raise ParameterError(f"no metric `{name}`. There are: {'; '.join(metric.label for metric in METRICS)}.")


def is_better(name: str, a: float, b: float) -> bool:
    """Whether one value is strictly better than another.

    Nearer to a target is |a - ideal| < |b - ideal|.

    Args:
        name: name of the measure.
        a: value in question.
        b: value that `a` must beat.

    Raises:
        ParameterError: unknown measure, or a value that is not a number.
    """
    metric = find_metric(name)
    return _badness(metric, a) < _badness(metric, b)


def rank_order(name: str, values: Mapping[str, float]) -> dict[str, int]:
    """Rank values from best to worst; equal values share the better rank, and the next rank is skipped.

    Args:
        name: name of the measure.
        values: mapping from competitor to value.

    Returns:
        Mapping from competitor to rank, 1 for the best, ordered by rank.

    Raises:
        ParameterError: unknown measure, nothing to rank, or a value that is not a number.
    """
    metric = find_metric(name)
    if not values:
        raise ParameterError(f"rank_order of {name}: there is nothing to rank.")
    badness = {key: _badness(metric, value) for key, value in values.items()}
    return {
        key: 1 + sum(other < badness[key] for other in badness.values())
        for key in sorted(badness, key=badness.__getitem__)
    }


def describe_metrics(names: Sequence[str]) -> pd.DataFrame:
    """Describe measures in a table for a notebook; show it with `tables.style_table`, which does not truncate formulas.

    Args:
        names: names of the measures, in row order.

    Returns:
        Table indexed by name; columns unit, better (in words), ideal, formula (between dollar signs), region, source.

    Raises:
        ParameterError: unknown measure, or no names.
    """
    if not names:
        raise ParameterError("describe_metrics: name a metric at least.")
    metrics = [find_metric(name) for name in names]
    rows = [
        {
            "unit": metric.unit,
            "better": metric.direction if metric.direction != "target" else "nearer to the ideal",
            "ideal": metric.ideal,
            "formula": f"${metric.formula}$",
            "region": metric.region,
            "source": metric.source,
        }
        for metric in metrics
    ]
    return pd.DataFrame(rows, index=pd.Index([metric.name for metric in metrics], name="metric"))


def _badness(metric: Metric, value: float) -> float:
    """Convert a value so that smaller is better."""
    if math.isnan(value):
        raise ParameterError(f"{metric.name}: a value is not a number. Leave out what was not measured.")
    if metric.direction == "target":
        return abs(value - metric.ideal)
    return value if metric.direction == "lower" else -value
