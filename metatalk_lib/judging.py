"""What notebook 06 does in order: the frames and recordings that all methods share, the trained baseline, the judges.

The protocol of the paper's Table 2: LSE on other people's speech, images on the character's own held-out speech. Each
character's test split is the tail that stage 01 held out; the recordings of other people are fixed by
`judging_recordings`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from pandas.io.formats.style import Styler

from metatalk_lib import evaluation
from metatalk_lib.artifacts import load_json, save_json, sha256_file
from metatalk_lib.audio import read_audio
from metatalk_lib.baselines import audiodvp
from metatalk_lib.compared_methods import ABLATIONS, PERSON_FILES
from metatalk_lib.control_rows import IMAGE_ORDER, find_order_failures
from metatalk_lib.controls import CHEATS
from metatalk_lib.driving import cut_audio
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.face_measures import LANDMARK_DISTANCE, LIKENESS
from metatalk_lib.face_model import FaceModel, load_face_model
from metatalk_lib.frechet_judge import FrechetJudge, load_frechet_judge
from metatalk_lib.held_out import HeldOut, load_held_out
from metatalk_lib.intervals import to_estimate
from metatalk_lib.judging_recordings import write_judging_recordings
from metatalk_lib.lip_sync_error import FPS, LipSyncError, score_clip
from metatalk_lib.lip_sync_judge import (
    OFFSET,
    LipSyncJudge,
    average_clips,
    average_tracks,
    embed_video,
    find_lse_failures,
    load_judge,
    score_controls,
)
from metatalk_lib.metric_catalogue import SYMBOLS, describe_metrics
from metatalk_lib.params import EvaluationConfig
from metatalk_lib.s3fd_detection import MIN_DETECTIONS
from metatalk_lib.stage import Stage, code_fingerprint, load_summary
from metatalk_lib.sync import (
    CONTROL_ROWS,
    GROUND_TRUTH,
    REENCODED,
    SyncScore,
    find_control_failures,
    find_lag_failures,
)
from metatalk_lib.tables import METHODS, style_table
from metatalk_lib.video import read_frames, write_video

HELD_OUT, DRIVING = "held_out", "driving"


class Tail(NamedTuple):
    """The character's test split.

    Attributes:
        frames: what is compared.
        audio: its sound.
        model: for the mask.
    """

    frames: HeldOut
    audio: Path
    model: FaceModel

    @property
    def start(self) -> int:
        """First frame, in the source."""
        return int(self.frames.frame_id[0])


class Judges(NamedTuple):
    """Who judges lips, and whose features the Fréchet distance is of."""

    lip_sync: LipSyncJudge
    frechet: FrechetJudge

    @property
    def names(self) -> list[str]:
        """What their figures are called."""
        return [*self.lip_sync.metrics, self.frechet.metric]

    @property
    def files(self) -> list[Path]:
        """Their weights."""
        return [*self.lip_sync.files, *self.frechet.files]


def load_tail(stage: Stage, config: EvaluationConfig) -> Tail:
    """The held-out frames that are compared and their sound, which goes to `recordings/held_out.wav`.

    Raises:
        DataError: an earlier stage is not finished, or nothing is held out.
    """
    crop_path, audio_path = stage.input("01_crop", "crop.json"), stage.input("01_crop", "audio.wav")
    coefficients_path = stage.input("03_reconstruction", "coefficients.npz")
    frames = load_held_out(crop_path, coefficients_path, audio_path, max_seconds=config.evaluation_seconds)
    start, length = (Fraction(count) / frames.fps for count in (int(frames.frame_id[0]), len(frames)))
    audio = cut_audio(audio_path, start, stage.output("recordings/held_out.wav"), length_s=length)
    return Tail(frames, audio, load_face_model(frames.coefficients.face_model))


def load_judges(stage: Stage, config: EvaluationConfig, tail: Tail) -> Judges:
    """The judges that the parameters name.

    The weights' files count as inputs of the stage.

    Args:
        stage: of the evaluation.
        config: of the stage.
        tail: with the recipe `s3fd` it must be long enough for a track.

    Raises:
        DataError: weights are missing, or do not fit.
        ParameterError: the tail or the recordings are too short for S3FD's tracks.
    """
    person = load_summary(config.outputs_dir, config.character, "01_crop")["parameters"]
    options = {"face_position": person["face_position"], "device": stage.device}
    lip_sync = load_judge(config.lip_sync_network, config.lip_sync_recipe, **options)
    shortest = min(len(tail.frames) / float(tail.frames.fps), config.judging_seconds)
    if lip_sync.detector is not None and shortest * FPS < MIN_DETECTIONS:
        raise ParameterError(
            f"lip_sync_recipe is s3fd, whose tracks need {MIN_DETECTIONS / FPS:.2f} s; the shorter of tail and "
            f"recordings has {shortest:.2f} s. Raise held_out_seconds and judging_seconds."
        )
    judges = Judges(lip_sync, load_frechet_judge(config.frechet_network, device=stage.device))
    record_weights(stage, judges.files)
    return judges


def record_weights(stage: Stage, files: Iterable[Path]) -> None:
    """Count files as inputs of the stage: where one changes, the stage is out of date.

    Args:
        stage: of the evaluation; what it writes itself is passed over.
        files: of weights.
    """
    for path in files:
        if not path.is_relative_to(stage.dir):
            stage.external_input(path)


def write_recordings(stage: Stage, config: EvaluationConfig, tail: Tail) -> dict[str, tuple[Path, int]]:
    """What all methods say: name to recording and the source frame that is shown first.

    The tail's own sound, which image measures need; then speech of others, for LSE: what stage 05 was given, and
    `judging_recordings` voices that nothing here was trained on.
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


def choose_baseline(stage: Stage, config: EvaluationConfig) -> audiodvp.AudioDVPSettings:
    """Size and length of the AudioDVP baseline; with `audiodvp_equal_time`, the seconds that stage 05 trained ours."""
    seconds = 0.0
    if config.audiodvp_equal_time:
        seconds = float(_load_our_history(stage)["seconds"][-1])
    return audiodvp.AudioDVPSettings(
        width=config.audiodvp_width,
        depth=config.audiodvp_depth,
        refine=config.audiodvp_refine,
        steps=config.audiodvp_steps,
        batch=config.audiodvp_batch,
        learning_rate=config.audiodvp_learning_rate,
        seed=config.seed,
        seconds=seconds,
    )


def train_baseline(stage: Stage, settings: audiodvp.AudioDVPSettings) -> dict[str, object]:
    """Train AudioDVP into `audiodvp/`, or take what is there where it was made from the same.

    Returns:
        Its history, as `audiodvp.train` gives it.
    """
    folder, person = stage.output("audiodvp/history.json").parent, stage.dir.parent
    wanted = {
        "settings": asdict(settings),
        "files": [sha256_file(person / name) for name in PERSON_FILES],
        "code": code_fingerprint(stage.name),
    }
    made_from, history = folder / "made_from.json", folder / "history.json"
    if made_from.is_file() and history.is_file() and load_json(made_from) == json.loads(json.dumps(wanted)):
        return load_json(history)
    made_from.unlink(missing_ok=True)
    trained = audiodvp.train(person, folder, settings, device=stage.device)
    save_json(made_from, wanted)
    return trained


def describe_training(history: Mapping[str, object], stage: Stage) -> tuple[dict[str, object], dict[str, tuple]]:
    """How long either renderer was trained, and both loss curves over time.

    Args:
        history: of `train_baseline`.
        stage: of the evaluation; ours is read from stage 05.

    Returns:
        A row for a table, and label to (seconds, loss) for `comparison_figures.plot_training_plateaus`.
    """
    ours, theirs = _load_our_history(stage), history["renderer"]
    row = {
        "steps": theirs["step"][-1],
        "seconds": theirs["seconds"][-1],
        "seconds of ours": ours["seconds"][-1],
        "own-speech frames of A2E": history["a2e"]["frames"],
        "frames of the renderer": history["renderer_frames"],
    }
    return row, {str(history["label"]): _over_time(theirs), "Ours": _over_time(ours)}


def judge_original(judges: Judges, tail: Tail, folder: Path) -> dict[str, LipSyncError]:
    """LSE of the original tail with its own sound, once more encoded, and its controls.

    Args:
        judges: the judges.
        tail: the test split.
        folder: gets `ground_truth.mp4`, encoded without loss, and `ground_truth_reencoded.mp4`.

    Raises:
        DataError, FaceError, ParameterError: as `embed_video`.
    """
    frames, sound, clips = tail.frames, read_audio(tail.audio), {}
    for name, crf in (("ground_truth", 0), ("ground_truth_reencoded", None)):
        path, first = folder / f"{name}.mp4", tail.start
        shown = read_frames(frames.source, first, first + len(frames))
        write_video(path, shown, fps=frames.fps, crf=crf, audio=sound)
        clips[name] = embed_video(judges.lip_sync, path)
    rows = score_controls(judges.lip_sync, clips["ground_truth"])
    reencoded = average_tracks(map(score_clip, clips["ground_truth_reencoded"]))
    return {GROUND_TRUTH: rows.pop(GROUND_TRUTH), REENCODED: reencoded, **rows}


def leave_out(videos: Mapping[str, Mapping[str, Path]], recording: str) -> dict[str, dict[str, Path]]:
    """Method to recording to video, without one recording."""
    return {method: {name: path for name, path in made.items() if name != recording} for method, made in videos.items()}


def tabulate_lip_sync(
    judges: Judges, original: Mapping[str, LipSyncError], clips: pd.DataFrame, *, seed: int
) -> pd.DataFrame:
    """LSE of the original's rows and of every method's mean over its clips, with intervals.

    Args:
        judges: name the metrics.
        original: rows of `judge_original`.
        clips: of `lip_sync_judge.score_videos`.
        seed: of the intervals.
    """
    columns = [*judges.lip_sync.metrics, OFFSET]
    rows = {name: list(score) for name, score in original.items()}
    offsets = clips.groupby("method")[OFFSET].median()
    for method, scores in average_clips(clips, judges.lip_sync, seed=seed).items():
        rows[method] = [*scores.values(), offsets[method]]
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis("video")


def describe_measures(judges: Judges) -> Styler:
    """Every measure of the notebook with its direction, ideal value, formula and region, as a table."""
    pictures = (*evaluation.SSIM_METRICS, *evaluation.OPEN_METRICS, evaluation.FLICKER)
    names = [*judges.names, *pictures, LANDMARK_DISTANCE, LIKENESS, OFFSET]
    return style_table(describe_metrics(names), caption=SYMBOLS)


def find_failures(
    judges: Judges,
    frame_count: int,
    fps: Fraction,
    *,
    images: pd.DataFrame,
    variants: pd.DataFrame,
    faces: pd.DataFrame,
    sync: Mapping[str, Mapping[str, SyncScore]],
    lip_sync: Mapping[str, LipSyncError],
) -> dict[str, list[str] | None]:
    """Control rows that come out in the wrong order, by measure.

    Args:
        judges: name the measures.
        frame_count: of the tail.
        fps: frames a second.
        images: of `evaluation.measure_images`, with the control rows.
        variants: of `evaluation.measure_ssim_variants`, with the control rows.
        faces: of `face_measures.compare_faces`, with the control rows.
        sync: control scores of `evaluation.measure_sync`.
        lip_sync: rows of `judge_original`.

    Returns:
        Measure to sentences; None where the clip is too short for a verdict.
    """
    seconds = {"opening": evaluation.VERDICT_SECONDS, "envelope": evaluation.ENVELOPE_VERDICT_SECONDS}
    found: dict[str, list[str] | None] = {
        name: find_control_failures(rows, min_frames=round(seconds[name] * fps)) for name, rows in sync.items()
    }
    if frame_count < round(evaluation.VERDICT_SECONDS * fps):
        unasked = ("LSE", "images", "SSIM's variants", "faces", "opening's lag")
        return {**dict.fromkeys(unasked), **found}
    face_metrics = (LANDMARK_DISTANCE, LIKENESS, judges.frechet.metric)
    return {
        "LSE": find_lse_failures(lip_sync),
        "images": find_order_failures(images, *IMAGE_ORDER),
        "SSIM's variants": find_order_failures(variants, *variants.columns),
        "faces": find_order_failures(faces, *face_metrics),
        **found,
        "opening's lag": find_lag_failures(sync["opening"]),
    }


def add_lip_sync(
    scores: Mapping[str, Mapping[str, float]], clips: pd.DataFrame, judges: Judges, *, seed: int
) -> dict[str, dict[str, object]]:
    """Method to metric to value, LSE's means with their intervals among them."""
    judged = average_clips(clips, judges.lip_sync, seed=seed)
    return {name: {**values, **judged[name]} for name, values in scores.items()}


def collect_controls(
    judges: Judges, original: Mapping[str, LipSyncError], *measured: pd.DataFrame
) -> dict[str, dict[str, float]]:
    """Control row to metric to value, of every measure that has them.

    Args:
        judges: name the metrics.
        original: rows of `judge_original`.
        measured: tables with the control rows.
    """
    rows = evaluation.collect_scores([GROUND_TRUTH, REENCODED, *CONTROL_ROWS], *measured)
    names = judges.lip_sync.metrics
    return {row: {**values, **dict(zip(names, original[row], strict=False))} for row, values in rows.items()}


def summarise(
    scores: Mapping[str, Mapping[str, object]],
    labels: Mapping[str, str],
    images: pd.DataFrame,
    verdicts: Mapping[str, str],
    reference: str,
) -> dict[str, object]:
    """The summary's figures: means of ours and of every method of Table 2, the cheats, the controls' verdict."""
    rows = {"Ours": "ours"} | {name: labels[name] for name in METHODS if name in scores and name != "Ours"}
    figures = {
        row: {metric: to_estimate(value).mean for metric, value in scores[name].items()} for name, row in rows.items()
    }
    cheats = images.loc[list(CHEATS)]
    return figures | {
        "controls": dict(verdicts),
        "reference": reference,
        "cheats_ssim_in_mask": cheats["SSIM in mask"].to_dict(),
        "cheats_ssim": cheats["SSIM"].to_dict(),
    }


def collect_ablation(scores: Mapping[str, Mapping[str, object]]) -> dict[str, Mapping[str, object]]:
    """Table 3's rows from the scores by method."""
    return {row: scores[method] for row, method in ABLATIONS.items()}


def list_clips(videos: Mapping[str, Mapping[str, Path]], labels: Mapping[str, str], folder: Path) -> list[dict]:
    """What people rate in stage 07: the tail and stage 05's recording, by the methods of Table 2."""
    return [
        {"method": labels[method], "audio": name, "file": str(videos[method][name].relative_to(folder))}
        for method in METHODS
        if method in videos
        for name in (HELD_OUT, DRIVING)
    ]


def _load_our_history(stage: Stage) -> dict[str, list]:
    path = stage.input("05_neural_renderer", "history.json")
    history = load_json(path)
    if "seconds" not in history:
        raise DataError(f"{path} does not tell how long the training took. Run 05_neural_renderer again.")
    return history


def _over_time(losses: Mapping[str, list]) -> tuple[np.ndarray, np.ndarray]:
    """Losses over time; the first, a mean over the first steps, stands at the start as well."""
    seconds, loss = losses["seconds"], losses["reconstruction"]
    return np.array([0, *seconds], float), np.array([loss[0], *loss], float)
