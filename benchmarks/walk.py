"""The suite from end to end: character A, and a real person's clip where there is one, judged on the finished video.

    python -m benchmarks.walk [--clip VIDEO --speech RECORDING] [--outputs FOLDER]

Everything is run through `metatalk_lib.core.notebook_runner`, as `metatalk run` does, on the demo profile; what is up
to date is kept. Every figure is read from `06_evaluation/summary.json`, measured on the decoded final video.
"""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.report import Row, finish
from metatalk_lib.core.notebook_runner import run_character
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import PROJECT_ROOT
from metatalk_lib.core.stage import load_summary
from metatalk_lib.evaluation import cheats
from metatalk_lib.media.audio import Audio, read_audio, write_audio
from metatalk_lib.media.video import read_frames
from metatalk_lib.talk.talker import talk
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import mouth_opening

CLOSED_SHARE = 0.5
"""Landmarks measure an opening on closed lips, too."""
REAL = PROJECT_ROOT.parent / "shared" / "real"


def walk(character: str, outputs: Path, **overrides: Any) -> None:
    """Run all stages of a character on the demo profile."""
    files = character_params_path(character), profile_params_path("demo")
    run_character(load_params(*files, overrides={"outputs_dir": str(outputs), **overrides}))


def rows_of(character: str, outputs: Path, *, with_opening: bool) -> list[Row]:
    """The figures of one character, with the cheat rows that must stay below ours."""
    return judge_metrics(
        character, load_summary(outputs, character, "06_evaluation")["metrics"], with_opening=with_opening
    )


def judge_metrics(character: str, metrics: dict[str, Any], *, with_opening: bool) -> list[Row]:
    """The same from the metrics of a summary of stage 06."""
    ours = metrics["ours"]
    rows = [Row(f"{character}: SSIM inside the mask", ours["SSIM in mask"], "", ">=", 0.75)]
    if with_opening:
        rows.append(Row(f"{character}: mouth opening, true against produced, r", ours["opening r"], "", ">=", 0.6))
    rows += [
        Row(f"{character}: SSIM of the crop", ours["SSIM"], "", None, None),
        Row(f"{character}: sharpness ratio in the mask", ours["sharpness ratio in mask"], "", None, None),
    ]
    for name, value in metrics["cheats_ssim_in_mask"].items():
        is_cheat = name != cheats.PASS_THROUGH
        bar = (">=", ours["SSIM in mask"], True) if is_cheat else (">=", 0.999, False)
        rows.append(Row(f"{character}: SSIM inside the mask, {name}", value, "", *bar))
        rows.append(Row(f"{character}: SSIM of the crop, {name}", metrics["cheats_ssim"][name], "", None, None))
    return rows


def silence_rows(character: str, outputs: Path) -> list[Row]:
    """Mouth opening on the decoded video of a recording whose second half is silent, over that of the first half.

    The cheat row takes the recording's own two halves, where nothing is silent.
    """
    speech = read_audio(outputs / character / "01_crop" / "audio.wav")
    half = len(speech.samples) // 2
    muted = Audio(speech.samples.copy(), speech.rate)
    muted.samples[half:] = 0
    shares = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, audio in (("silent", muted), ("not silent", speech)):
            recording, video = Path(folder) / f"{name}.wav", Path(folder) / f"{name}.mp4"
            write_audio(recording, audio)
            report = talk(outputs / character, recording, video)
            track = track_landmarks(read_frames(video), frame_count=report.frame_count, fps=report.fps, name=video)
            opening = mouth_opening(track.landmarks)
            middle, fade = report.frame_count // 2, round(0.3 * report.fps)
            shares[name] = float(opening[middle + fade :].mean() / opening[:middle].mean())
    return [
        Row(f"{character}: mouth opening, silence over speech", shares["silent"], "", "<=", CLOSED_SHARE),
        Row(
            f"{character}: the same, nothing silent (cheat)",
            shares["not silent"],
            "",
            "<=",
            CLOSED_SHARE,
            is_cheat=True,
        ),
    ]


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=REAL / "speaker_512.mp4")
    parser.add_argument("--speech", type=Path, default=REAL / "speech_en.wav")
    parser.add_argument("--outputs", type=Path, default=PROJECT_ROOT / "outputs")
    arguments = parser.parse_args()
    walk("A", arguments.outputs)
    rows = rows_of("A", arguments.outputs, with_opening=True)
    rows += silence_rows("A", arguments.outputs)
    if arguments.clip.exists():
        walk("real_example", arguments.outputs, video=str(arguments.clip), driving_audio=str(arguments.speech))
        rows += rows_of("real_example", arguments.outputs, with_opening=False)
    else:
        print(f"no real clip: {arguments.clip} does not exist; name one with --clip and --speech")
    sys.exit(finish("walk", rows))


if __name__ == "__main__":
    main()
