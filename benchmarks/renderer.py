"""The neural renderer against real frames: studio characters, a real clip, seams, flicker, the prior.

    python -m benchmarks.renderer [--characters ABCDEFG] [--clip VIDEO] [--parts studio real prior]

Training uses the first seconds of a clip, evaluation the last two, whose mouths are withheld. Studio characters have
their true identity, expressions and poses, the real clip those of stage 03. All figures are of frames before encoding.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.lip_speaker import trained
from benchmarks.reconstruction import REAL
from benchmarks.renderer_cases import (
    CONFIG,
    FLICKER,
    HARD_SEAM,
    OTHER_TONE,
    Case,
    Quality,
    make_cheats,
    measure,
    mouth_psnr,
    open_real,
    open_studio,
    train,
)
from benchmarks.report import Row, finish
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.evaluation import cheats as controls
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.media.audio import open_audio
from metatalk_lib.media.video import probe_video
from metatalk_lib.neural_renderer.generator import NeuralRenderer
from metatalk_lib.neural_renderer.inspection import paint_pairs

TRAINING_MINUTES = 5.0
CURVE_STEPS = (0, 3, 6, 9, 12, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400)
"""Steps at which the learning curves are measured."""
CURVE_CHARACTERS = "ADFG"
GAIN_SHARE, STEP_SHARE = 0.95, 0.2
RIM_CONTRAST = 4.0
"""Largest brightness error along the mask's edge, grey levels."""
HEARD = "heard"


def studio_rows(names: str, model: FaceModel, folder: Path) -> list[Row]:
    """Held-out frames of every character and the mean, driven by truth and by their own audio."""
    rows, scores, driven, cheats, minutes = [], [], [], {}, []
    for name in names:
        case = open_studio(name, model, folder)
        renderer, seconds = train(case)
        minutes.append((case.seconds + seconds) / 60)
        painted = paint_pairs(renderer, case.held_out)
        scores.append(measure(case, painted))
        rows += [Row(f"{name}: {label}", value, unit, None, None) for label, value, unit in named(scores[-1])]
        rows.append(Row(f"{name}: drawing and training, {case.settings.size} px", minutes[-1], "min", None, None))
        driven.append(drive(case, renderer, folder / "driven"))
        for cheat, images in make_cheats(case, painted).items():
            cheats.setdefault(cheat, []).append(measure(case, images))
        print(f"{name}: measured", file=sys.stderr, flush=True)
    mean = mean_of(scores)
    return [
        *rows,
        Row("studio: SSIM of the crop (Gaussian window)", mean.ssim_crop, "", ">=", 0.985),
        Row("studio: SSIM inside the mask", mean.ssim_mask, "", ">=", 0.87),
        Row("studio: mouth PSNR", mean.mouth_psnr, "dB", ">=", 30.0),
        *band_rows("studio: gradient energy of the mouth, ratio", mean.mouth_energy, 0.10),
        *band_rows("studio: sharpness of the mouth, ratio", mean.mouth_sharpness, 0.10),
        *band_rows("studio: gradient across the mask's edge, ratio", mean.seam, 0.10),
        Row("studio: tone along the mask's edge, off by", mean.rim, "levels", "<=", RIM_CONTRAST),
        Row("studio: flicker outside the lips, ratio", mean.flicker, "", "<=", 1.15),
        *driven_rows(driven),
        Row("studio: longest drawing and training", max(minutes), "min", "<=", TRAINING_MINUTES),
        *cheat_rows("studio", {name: mean_of(each) for name, each in cheats.items()}, 0.87, 30.0),
    ]


def real_rows(path: Path, model: FaceModel, folder: Path) -> list[Row]:
    """The same for a real person's clip."""
    case = open_real(path, model, folder)
    renderer, seconds = train(case)
    painted = paint_pairs(renderer, case.held_out)
    score = measure(case, painted)
    cheats = {name: measure(case, images) for name, images in make_cheats(case, painted).items()}
    return [
        Row("real: SSIM inside the mask", score.ssim_mask, "", ">=", 0.82),
        Row("real: SSIM of the crop", score.ssim_crop, "", ">=", 0.97),
        Row("real: mouth PSNR", score.mouth_psnr, "dB", None, None),
        *band_rows("real: gradient energy of the mouth, ratio", score.mouth_energy, 0.15),
        *band_rows("real: sharpness of the mouth, ratio", score.mouth_sharpness, 0.15),
        *band_rows("real: gradient across the mask's edge, ratio", score.seam, 0.10),
        Row("real: tone along the mask's edge, off by", score.rim, "levels", "<=", RIM_CONTRAST),
        Row("real: flicker outside the lips, ratio", score.flicker, "", "<=", 1.15),
        Row("real: drawing and training", (case.seconds + seconds) / 60, "min", "<=", TRAINING_MINUTES),
        *cheat_rows("real", cheats, 0.82, None),
    ]


def prior_rows(model: FaceModel, folder: Path) -> list[Row]:
    """Measure the steps that the mouth needs from the prior and from random weights, mean of some characters."""
    cases = [open_studio(name, model, folder) for name in CURVE_CHARACTERS]
    curves = {}
    for name in ("scratch", "prior"):
        singles = [learning_curve(case, uses_prior=name == "prior") for case in cases]
        curves[name] = {step: float(np.mean([single[step] for single in singles])) for step in CURVE_STEPS}
        print(f"{name}: " + ", ".join(f"{step}: {value:.2f}" for step, value in curves[name].items()), file=sys.stderr)
    scratch = curves["scratch"]
    final, first = scratch[CURVE_STEPS[-1]], scratch[0]
    level = first + GAIN_SHARE * (final - first)
    steps = {name: steps_to(curve, level) for name, curve in curves.items()}
    share, label = STEP_SHARE * steps["scratch"], f"mean of {', '.join(CURVE_CHARACTERS)}: "
    return [
        Row(f"{label}mouth PSNR from scratch, untrained", first, "dB", None, None),
        Row(f"{label}mouth PSNR from scratch, last step", final, "dB", None, None),
        Row(f"{label}mouth PSNR of the prior alone", curves["prior"][0], "dB", None, None),
        Row(f"{label}mouth PSNR from the prior, last step", curves["prior"][CURVE_STEPS[-1]], "dB", ">=", final),
        Row(f"{label}steps from scratch to 95 % of its gain", steps["scratch"], "steps", None, None),
        Row(f"{label}steps from the prior to the same PSNR", steps["prior"], "steps", "<=", share),
        *(Row(f"{label}mouth PSNR, {name}", value, "dB", ">=", level, True) for name, value in cheated(cases).items()),
    ]


def cheated(cases: list[Case]) -> dict[str, float]:
    """Measure the mouth PSNR of every cheat, mean of the cases, which a training must exceed to count as a gain."""
    scores: dict[str, list[float]] = {name: [] for name in controls.CHEATS if name != controls.PASS_THROUGH}
    for case in cases:
        made = make_cheats(case, np.asarray(case.held_out.targets))
        for name, values in scores.items():
            values.append(mouth_psnr(case, made[name]))
    return {name: float(np.mean(values)) for name, values in scores.items()}


def learning_curve(case: Case, *, uses_prior: bool) -> dict[int, float]:
    """Mouth PSNR after some numbers of steps."""
    curve: dict[int, float] = {}

    def watch(step: int, renderer) -> None:
        if step in CURVE_STEPS:
            curve[step] = mouth_psnr(case, paint_pairs(renderer, case.held_out))

    train(case, uses_prior=uses_prior, steps=CURVE_STEPS[-1], watch=watch)
    return curve


def steps_to(curve: dict[int, float], level: float) -> int:
    """The first measured step at which a curve reaches a level; the last one if it never does."""
    return min((step for step, value in curve.items() if value >= level), default=max(curve))


def drive(case: Case, renderer: NeuralRenderer, folder: Path) -> dict[str, float]:
    """Measure SSIM inside the mask of held-out frames painted with A2E's expressions from the clip's own sound.

    Two cheats are measured, too: lips at rest, and the expressions in reverse order.
    """
    info, start = probe_video(case.clip.path), case.held_out_start
    heard, _ = predict_speech(open_audio(case.clip.path), info.fps, trained(info.fps))
    frames = min(len(heard), len(case.coefficients))
    scores = {}
    for name, lips in (
        (HEARD, heard[start:frames]),
        ("lips at rest", np.zeros_like(heard[start:frames])),
        ("heard in reverse", heard[start:frames][::-1]),
    ):
        expression = np.array(case.coefficients.expression)
        expression[start:frames] = lips
        pairs = case.draw_held_out(case.coefficients.with_expression(expression), folder)
        scores[name] = measure(case, paint_pairs(renderer, pairs)).ssim_mask
    return scores


def driven_rows(scores: list[dict[str, float]]) -> list[Row]:
    """Make rows of driven lips: they must resemble the truth, and more than lips that move differently."""
    means = {name: float(np.mean([score[name] for score in scores])) for name in scores[0]}
    heard = means.pop(HEARD)
    return [
        Row("studio: driven by held-out audio, SSIM inside the mask", heard, "", ">=", 0.80),
        *(
            Row(f"studio: driven by other lips, SSIM inside the mask: {name} (cheat)", value, "", ">=", heard, True)
            for name, value in means.items()
        ),
    ]


def named(score: Quality) -> list[tuple[str, float, str]]:
    """Label, value and unit of every figure."""
    return [
        ("SSIM inside the mask", score.ssim_mask, ""),
        ("SSIM of the crop", score.ssim_crop, ""),
        ("mouth PSNR", score.mouth_psnr, "dB"),
        ("gradient energy of the mouth, ratio", score.mouth_energy, ""),
        ("sharpness of the mouth, ratio", score.mouth_sharpness, ""),
        ("gradient across the mask's edge, ratio", score.seam, ""),
        ("tone along the mask's edge, off by", score.rim, "levels"),
        ("flicker outside the lips, ratio", score.flicker, ""),
    ]


def mean_of(scores: list[Quality]) -> Quality:
    """Means over clips."""
    return Quality(*np.mean([[value for _, value, _ in named(score)] for score in scores], axis=0).tolist())


def band_rows(name: str, value: float, width: float) -> list[Row]:
    """A ratio that must be near 1, from both sides."""
    return [Row(name, value, "", ">=", 1 - width), Row(name, value, "", "<=", 1 + width)]


def cheat_rows(clip: str, cheats: dict[str, Quality], ssim: float, psnr: float | None) -> list[Row]:
    """Each cheat must miss the bar that was made against it; the pass-through is a control and must meet them."""
    rows = []
    for name, score in cheats.items():
        if name == HARD_SEAM:
            rows.append(Row(f"{clip}: edge gradient, {name} (cheat)", score.seam, "", "<=", 1.10, True))
        elif name == OTHER_TONE:
            rows.append(Row(f"{clip}: tone, {name} (cheat)", score.rim, "levels", "<=", RIM_CONTRAST, True))
        elif name == FLICKER:
            rows.append(Row(f"{clip}: flicker, {name} (cheat)", score.flicker, "", "<=", 1.15, True))
        else:
            is_cheat = name != controls.PASS_THROUGH
            rows.append(Row(f"{clip}: SSIM inside the mask, {name}", score.ssim_mask, "", ">=", ssim, is_cheat))
            if psnr is not None and is_cheat:
                rows.append(Row(f"{clip}: mouth PSNR, {name}", score.mouth_psnr, "dB", ">=", psnr, True))
    return rows


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--characters", default="ABCDEFG")
    parser.add_argument("--clip", type=Path, default=REAL / "speaker_512.mp4")
    parser.add_argument("--parts", nargs="+", default=("studio", "real", "prior"), choices=("studio", "real", "prior"))
    arguments = parser.parse_args()
    model, rows = load_face_model(), []
    with tempfile.TemporaryDirectory() as name:
        if "studio" in arguments.parts:
            rows += studio_rows(arguments.characters, model, Path(name))
        if "real" in arguments.parts:
            if arguments.clip.exists():
                rows += real_rows(arguments.clip, model, Path(name))
            else:
                print(f"no real clip: {arguments.clip} does not exist; name one with --clip")
        if "prior" in arguments.parts:
            rows += prior_rows(model, Path(name))
    print(f"trained with the defaults of notebook 05: {CONFIG.renderer_steps} steps")
    sys.exit(finish("renderer", rows))


if __name__ == "__main__":
    main()
