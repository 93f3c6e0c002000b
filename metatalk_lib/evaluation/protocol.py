"""The protocol of notebook 06: the test split, the recordings, the judges, the baseline and the summary."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd

from metatalk_lib.baselines import audiodvp
from metatalk_lib.core.errors import ParameterError
from metatalk_lib.core.stage import Stage, load_summary
from metatalk_lib.core.stage_configs import EvaluationConfig
from metatalk_lib.evaluation import image_measures
from metatalk_lib.evaluation.cheats import CHEATS
from metatalk_lib.evaluation.controls import CONTROL_ROWS, GROUND_TRUTH, REENCODED
from metatalk_lib.evaluation.failures import Failures
from metatalk_lib.evaluation.frechet_judge import load_frechet_judge
from metatalk_lib.evaluation.held_out import load_held_out
from metatalk_lib.evaluation.judges import Judges
from metatalk_lib.evaluation.lse_judge import load_judge
from metatalk_lib.evaluation.methods import ABLATIONS, METHODS
from metatalk_lib.evaluation.syncnet_tracks import MIN_DETECTIONS
from metatalk_lib.evaluation.test_split import DRIVING, HELD_OUT, Tail, write_judging_recordings
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.media.recordings import cut_audio
from metatalk_lib.metrics.intervals import to_estimate
from metatalk_lib.metrics.lse import SYNCNET_FPS, LipSyncError


def load_tail(stage: Stage, config: EvaluationConfig) -> Tail:
    """Load the held-out frames to compare and write their sound to `recordings/held_out.wav`.

    Raises:
        DataError: an earlier stage is not finished, or no frames are held out.
    """
    crop_path, audio_path = stage.input("01_crop", "crop.json"), stage.input("01_crop", "audio.wav")
    coefficients_path = stage.input("03_reconstruction", "coefficients.npz")
    frames = load_held_out(crop_path, coefficients_path, audio_path, max_seconds=config.evaluation_seconds)
    start, length = (Fraction(count) / frames.fps for count in (int(frames.frame_id[0]), len(frames)))
    audio = cut_audio(audio_path, start, stage.output("recordings/held_out.wav"), length_s=length)
    return Tail(frames, audio, load_face_model(frames.coefficients.face_model))


def load_judges(stage: Stage, config: EvaluationConfig, tail: Tail) -> Judges:
    """Load the judges selected by the parameters.

    The weights' files count as inputs of the stage.

    Args:
        stage: the evaluation stage.
        config: parameters of the stage.
        tail: test split; with the recipe `s3fd` it must be long enough for a track.

    Raises:
        DataError: weights are missing, or do not fit.
        ParameterError: the tail or the recordings are too short for S3FD's tracks.
    """
    person = load_summary(config.outputs_dir, config.character, "01_crop")["parameters"]
    options = {"face_position": person["face_position"], "device": stage.device}
    lip_sync = load_judge(config.lip_sync_network, config.lip_sync_recipe, **options)
    shortest = min(len(tail.frames) / float(tail.frames.fps), config.judging_seconds)
    if lip_sync.detector is not None and shortest * SYNCNET_FPS < MIN_DETECTIONS:
        raise ParameterError(
            f"lip_sync_recipe is s3fd, whose tracks need {MIN_DETECTIONS / SYNCNET_FPS:.2f} s; the shorter of tail and "
            f"recordings has {shortest:.2f} s. Raise held_out_seconds and judging_seconds."
        )
    judges = Judges(lip_sync, load_frechet_judge(config.frechet_network, device=stage.device))
    record_weights(stage, judges.files)
    return judges


def record_weights(stage: Stage, files: Iterable[Path]) -> None:
    """Record files as inputs of the stage, which is out of date as soon as one of them changes.

    Args:
        stage: the evaluation stage; files that it writes itself are skipped.
        files: files of weights.
    """
    for path in files:
        if not path.is_relative_to(stage.dir):
            stage.external_input(path)


def write_recordings(stage: Stage, config: EvaluationConfig, tail: Tail) -> dict[str, tuple[Path, int]]:
    """Collect the recordings that all methods speak: name to recording and the source frame shown first.

    They are the tail's own sound, for image measures, and other people's speech, for LSE: the recording of stage 05,
    and `judging_recordings` voices on which nothing here was trained.
    """
    driving = stage.input("05_neural_renderer", "talk_driving.mp4")
    others = write_judging_recordings(
        stage.output("recordings/held_out.wav").parent,
        config.character,
        config.judging_recordings,
        config.judging_seconds,
    )
    return {
        HELD_OUT: (tail.audio, tail.start),
        DRIVING: (driving, 0),
        **{path.stem: (path, 0) for path in others.values()},
    }


def choose_baseline(config: EvaluationConfig, ours: Mapping[str, list]) -> audiodvp.AudioDVPSettings:
    """Choose size and length of the AudioDVP baseline; `audiodvp_equal_time` takes the training time of ours.

    Args:
        config: parameters of the stage.
        ours: history of our renderer, from `audiodvp_baseline.load_renderer_history`.
    """
    return audiodvp.AudioDVPSettings(
        width=config.audiodvp_width,
        depth=config.audiodvp_depth,
        refine=config.audiodvp_refine,
        steps=config.audiodvp_steps,
        batch=config.audiodvp_batch,
        learning_rate=config.audiodvp_learning_rate,
        seed=config.seed,
        seconds=float(ours["seconds"][-1]) if config.audiodvp_equal_time else 0.0,
    )


def collect_controls(
    judges: Judges, original: Mapping[str, LipSyncError], *measured: pd.DataFrame
) -> dict[str, dict[str, float]]:
    """Collect control row to metric to value, for every measure that has control rows.

    Args:
        judges: judges that name the metrics.
        original: rows from `judge_original`; none where the original could not be judged.
        measured: tables with the control rows.
    """
    rows = image_measures.collect_scores([GROUND_TRUTH, REENCODED, *CONTROL_ROWS], *measured)
    names = judges.lip_sync.metrics
    return {row: {**values, **dict(zip(names, original.get(row, ()), strict=False))} for row, values in rows.items()}


def summarise(
    scores: Mapping[str, Mapping[str, Any]],
    labels: Mapping[str, str],
    images: pd.DataFrame,
    verdicts: Mapping[str, str],
    reference: str,
    failures: Failures | None = None,
) -> dict[str, object]:
    """Collect the summary's figures: means of every method of Table 2, the cheats, the controls' verdict, failures."""
    rows = {"Ours": "ours"} | {name: labels[name] for name in METHODS if name in scores and name != "Ours"}
    figures = {
        row: {metric: to_estimate(value).mean for metric, value in scores[name].items()} for name, row in rows.items()
    }
    cheats = images.loc[list(CHEATS)]
    return figures | {
        "controls": dict(verdicts),
        "reference": reference,
        "failed": failures.describe() if failures else {},
        "cheats_ssim_in_mask": cheats["SSIM in mask"].to_dict(),
        "cheats_ssim": cheats["SSIM"].to_dict(),
    }


def collect_ablation(scores: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """Return Table 3's rows from the scores by method."""
    return {row: scores[method] for row, method in ABLATIONS.items()}


def list_clips(videos: Mapping[str, Mapping[str, Path]], labels: Mapping[str, str], folder: Path) -> list[dict]:
    """List the clips to rate in stage 07: the tail and stage 05's recording, by the methods of Table 2."""
    return [
        {"method": labels[method], "audio": name, "file": str(videos[method][name].relative_to(folder))}
        for method in METHODS
        if method in videos
        for name in (HELD_OUT, DRIVING)
    ]
