"""`metatalk talk` against its parts: speed, memory, the first frame, and what a kill -9 costs.

    python -m benchmarks.talking [--parts speed memory kill accelerator]

Character A as the demo profile makes her, stages 01 to 05, kept between runs. All speeds are taken in one process on an
idle machine. On an accelerator the absolute figures of docs/performance.md are measured, too.
"""

import argparse
import itertools
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.report import Row, finish, own_peak_memory_mb, time_of
from metatalk_lib.core.artifacts import load_json
from metatalk_lib.core.notebook_runner import run_character
from metatalk_lib.core.params import character_params_path, load_params, profile_params_path
from metatalk_lib.core.paths import PROJECT_ROOT, STAGES
from metatalk_lib.media.audio import Audio, read_audio, write_audio
from metatalk_lib.media.frame_order import ping_pong, read_in_order
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.networks.wav2lip import WAV2LIP_FACE_SIZE, WAV2LIP_MEL_BANDS, WAV2LIP_MEL_STEPS, Wav2LipGenerator
from metatalk_lib.neural_renderer.conditioning import Condition
from metatalk_lib.neural_renderer.drawing import DrawnFrame, draw_frame
from metatalk_lib.neural_renderer.reference_bank import ReferenceFollower, describe_mouths
from metatalk_lib.neural_renderer.training_pairs import KEY_FILE
from metatalk_lib.speech.synthesis import synthesize
from metatalk_lib.talk import talker as talk
from metatalk_lib.talk.talker import Talker

METATALK = [sys.executable, "-c", "from metatalk_lib.cli import main; main()"]
OUTPUTS = PROJECT_ROOT / "outputs" / "bench" / "talk"
WHOLE_TO_PARTS, TO_WAV2LIP = 1.25, 0.6
SPEED_S, REPEATS = 10.0, 3
MEMORY_RATIO, SHORT_S, HELD_S, LONG_S = 1.15, 10.0, 60.0, 600.0
LOST_S = 60.0
KILLED_STEPS = 800
"""Training steps of the stage that is killed: more work than may be lost, on a fast machine, too."""
ACCELERATOR_FPS = {512: 125.0, 768: 60.0}
ACCELERATOR_MINUTES = 10.0


def make_character(name: str, *, outputs: Path = OUTPUTS, **overrides: object) -> Path:
    """A character's finished folder in `outputs`, stages 01 to 05, without the ablation."""
    files = character_params_path(name), profile_params_path("demo")
    values = load_params(*files, overrides={"outputs_dir": str(outputs), "ablation_steps": 0, **overrides})
    run_character(values, STAGES[:5])
    return outputs / name


def make_recording(path: Path, seconds: float) -> Path:
    """Speech of an exact length: one text over and over."""
    spoken = synthesize("Give me any recording, and my lips will follow every word of it.")
    count = round(seconds * spoken.rate)
    write_audio(path, Audio(np.resize(spoken.samples, count)[:, None], spoken.rate))
    return path


def speed_rows(folder: Path) -> list[Row]:
    """The whole path against a decode-encode pass-through, rasterising and the generator; and against Wav2Lip."""
    talker = Talker(make_character("A"))
    character, settings = talker.character, talker.renderer.settings
    recording = make_recording(folder / "ten.wav", SPEED_S)
    count = round(SPEED_S * character.fps)
    order = ping_pong(0, character.frame_count, count)
    driven = character.coefficients.select(np.unique(order))
    conditions, drawn = prepare(talker, driven)

    def pass_through() -> None:
        frames = read_in_order(character.source, order)
        write_video(folder / "copy.mp4", frames, fps=character.fps, codec=character.codec, audio=read_audio(recording))

    def rasterise() -> list[DrawnFrame]:
        rows = itertools.islice(itertools.cycle(range(len(driven))), count)
        return [draw_frame(talker.model, driven, row, settings.size, settings.roi) for row in rows]

    def generate() -> None:
        for condition in itertools.islice(itertools.cycle(conditions), count):
            talker.renderer.paint(condition)

    def whole() -> None:
        (folder / "talk.mp4").unlink(missing_ok=True)
        talker.speak(recording, folder / "talk.mp4")

    whole()  # compiled loops and caches
    seconds = {work.__name__: time_of(work, REPEATS) for work in (pass_through, rasterise, generate, whole)}
    twice = time_of(lambda: (whole(), whole()))
    return [
        *compare_speeds(seconds, twice, count),
        Row("warped references of a frame", 1000 * drawn, "ms", None, None),
    ]


def compare_speeds(seconds: dict[str, float], twice: float, count: int) -> list[Row]:
    """Rows for the whole path and its parts.

    Args:
        seconds: time of `pass_through`, `rasterise`, `generate` and `whole` over all frames.
        twice: time of the whole path, run twice.
        count: number of frames.
    """
    parts = seconds["pass_through"] + seconds["rasterise"] + seconds["generate"]
    ratio = seconds["whole"] / parts
    fps = count / seconds["whole"]
    wav2lip = 1 / wav2lip_seconds()
    return [
        *(Row(f"{name.replace('_', '-')}, a frame", 1000 * value / count, "ms", None, None)
          for name, value in seconds.items()),
        Row("whole path over pass-through, rasterising and generator", ratio, "", "<=", WHOLE_TO_PARTS),
        Row("the same, spoken twice (cheat)", twice / parts, "", "<=", WHOLE_TO_PARTS, True),
        Row("frames/s of the whole path, 512 px crop", fps, "1/s", None, None),
        Row("frames/s of the Wav2Lip network alone, 96 px", wav2lip, "1/s", None, None),
        Row("whole path over the Wav2Lip network, frames/s", fps / wav2lip, "", ">=", TO_WAV2LIP),
    ]  # fmt: skip


def prepare(talker: Talker, driven) -> tuple[list[Condition], float]:
    """The generator's inputs of the source's own frames, and the seconds that warping took a frame."""
    settings, bank = talker.renderer.settings, talker.renderer.bank
    follower, wanted = ReferenceFollower(bank, settings.references), describe_mouths(talker.model, driven)
    frames = read_in_order(talker.character.source, driven.frame_id)
    conditions, spent = [], []
    for row, source in enumerate(frames):
        arguments = (talker.model, driven, row, settings.size, settings.roi)
        crop = np.ascontiguousarray(settings.roi.cut(talker.character.transform.crop_image(source)))
        started = time.perf_counter()
        drawn = draw_frame(*arguments, bank, follower.choose(wanted[row]), crop)
        middle = time.perf_counter()
        draw_frame(*arguments)
        spent.append(2 * middle - started - time.perf_counter())
        parts = (drawn.image[None], np.ones(1, bool), crop, drawn.mask, drawn.references)
        conditions.append(Condition(*(part[None] for part in parts)))
    return conditions, statistics.median(spent)


def wav2lip_seconds(frames: int = 32) -> float:
    """Seconds a frame of the network alone, one frame at a time; what its weights are makes no difference."""
    network = Wav2LipGenerator().eval()
    mel, face = (
        torch.zeros(1, 1, WAV2LIP_MEL_BANDS, WAV2LIP_MEL_STEPS),
        torch.zeros(1, 6, WAV2LIP_FACE_SIZE, WAV2LIP_FACE_SIZE),
    )

    def work() -> None:
        with torch.inference_mode():
            for _ in range(frames):
                network(mel, face)

    work()
    return time_of(work, REPEATS) / frames


def memory_rows(folder: Path) -> list[Row]:
    """Peak memory and first frame of a short and a long recording; previews of a small crop, to take minutes only."""
    character = make_character("F", studio_scale=0.6, renderer_steps=20)

    def measure(seconds: float, *flags: str) -> list[float]:
        recording = make_recording(folder / f"{seconds:.0f}.wav", seconds)
        command = [sys.executable, "-m", "benchmarks.talking", "--speak", str(character), str(recording), *flags]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return [float(word) for word in output.split()[-2:]]

    (short, first_of_short), (long, first_of_long) = measure(SHORT_S), measure(LONG_S)
    held, _ = measure(HELD_S, "--hold")
    return [
        Row("peak memory of 10 s", short, "MB", None, None),
        Row("peak memory of 10 min over that of 10 s", long / short, "", "<=", MEMORY_RATIO),
        Row(
            "peak memory of 1 min over that of 10 s, every frame held (cheat)",
            held / short,
            "",
            "<=",
            MEMORY_RATIO,
            True,
        ),
        Row("first frame of 10 s, after", first_of_short, "s", None, None),
        Row("first frame of 10 min, after", first_of_long, "s", None, None),
    ]


def speak_once(character: Path, recording: Path, *, is_holding: bool) -> None:
    """What `memory_rows` runs in a process of its own; prints peak memory and the time to the first frame."""
    held, reduce_frame = [], talk.reduce_frame
    if is_holding:
        talk.reduce_frame = lambda *arguments: held.append(reduce_frame(*arguments)) or held[-1]
    with tempfile.TemporaryDirectory() as folder:
        report = Talker(character).speak(recording, Path(folder) / "talk.mp4", preview=True)
    print(own_peak_memory_mb(), report.seconds["first frame"])


def kill_rows(folder: Path) -> list[Row]:
    """Kill -9 while talking and while training, just before the next saving, go on, and compare with a whole run."""
    outputs = OUTPUTS / "kill"
    character = make_character("A", outputs=outputs, renderer_steps=KILLED_STEPS)
    recording = make_recording(folder / "thirty.wav", 30.0)
    whole, killed = folder / "whole.mp4", folder / "killed.mp4"
    speak = [*METATALK, "talk", "--character", "A", "--audio", str(recording), "--outputs", str(outputs), "-o"]
    subprocess.run([*speak, str(whole)], check=True, capture_output=True)
    talking = kill_late([*speak, str(killed)], lambda: (folder / ".killed.parts").glob("[0-9]*.mp4"), 4)
    is_torn = killed.exists()
    subprocess.run([*speak, str(killed)], check=True, capture_output=True)
    talk_differs = is_torn + differs(killed, whole)

    stage = character / "05_neural_renderer"
    trained, again = folder / "generator.safetensors", stage / "generator.safetensors"
    shutil.copyfile(again, trained)
    train = [*METATALK, "run", "--character", "A", "--from", "05", "--to", "05", "-p", f"outputs_dir={outputs}"]
    train += ["-p", "ablation_steps=0", "-p", f"renderer_steps={KILLED_STEPS}"]
    training = kill_late([*train, "--force"], lambda: kept_by_stage_05(stage / "work"), 8)
    is_torn = (stage / "summary.json").exists()
    subprocess.run(train, check=True, capture_output=True)
    train_differs = is_torn + differs(again, trained)
    with trained.open("rb+") as file:
        file.truncate(trained.stat().st_size - 1)
    return [
        Row("talk killed just before a saving: work lost", talking.lost_s, "s", "<=", LOST_S),
        Row("talk: longest time without a saving, loading included", talking.longest_s, "s", "<=", LOST_S),
        Row("talk killed and gone on: files that differ or were torn", talk_differs, "", "<=", 0),
        Row("stage 05 killed just before a saving: work lost", training.lost_s, "s", "<=", LOST_S),
        Row("stage 05: longest time without a saving, loading included", training.longest_s, "s", "<=", LOST_S),
        Row("stage 05 killed and gone on: files that differ or were torn", train_differs, "", "<=", 0),
        Row("stage 05 against its file cut by a byte (cheat)", differs(again, trained), "", "<=", 0, True),
        Row("stage 05 without any saving: work lost (cheat)", training.total_s, "s", "<=", LOST_S, True),
    ]


def differs(one: Path, other: Path) -> int:
    """1 where two files differ in any byte, else 0."""
    return int(one.read_bytes() != other.read_bytes())


def kept_by_stage_05(work: Path) -> Iterator[Path]:
    """What a killed stage 05 does not do again."""
    for pattern in ("roi.json", "*/*_done.json", f"*/{KEY_FILE}", "*/references.npy", "checkpoint.safetensors"):
        yield from work.glob(pattern)


class Killed(NamedTuple):
    """A run that was killed late.

    Attributes:
        lost_s: from the last saving to the kill.
        longest_s: longest time from the start or a saving to the next saving or the kill.
        total_s: from the start to the kill.
    """

    lost_s: float
    longest_s: float
    total_s: float


def kill_late(command: list[str], saved: Callable[[], Iterator[Path]], wanted: int) -> Killed:
    """Start, wait for some savings, then kill when nine tenths of the time to the next one have passed.

    Raises:
        RuntimeError: the run ended before it could be killed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    times, seen = [time.time()], {}
    while len(times) <= wanted or time.time() - times[-1] < 0.9 * (times[-1] - times[-2]):
        time.sleep(0.05)
        if process.poll() is not None:
            raise RuntimeError(f"{' '.join(command)} ended after {len(times) - 1} savings, before it was killed")
        now = {path: path.stat().st_mtime_ns for path in saved()}
        # files of an earlier run were there before the start
        times += [at / 1e9 for path, at in now.items() if seen.get(path) != at and at / 1e9 > times[0]]
        seen = now
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    times = [*sorted(times), time.time()]
    return Killed(times[-1] - times[-2], max(np.diff(times).tolist()), times[-1] - times[0])


def accelerator_rows(folder: Path) -> list[Row]:
    """Absolute figures on an accelerator: frames/s end to end with encoding, and the training of three minutes."""
    if not torch.cuda.is_available():
        print("no accelerator: its figures are not measured")
        return []
    card, device, rows = torch.cuda.get_device_name(), torch.device("cuda"), []
    for name, size in (("A", 512), ("B", 768)):
        talker = Talker(make_character(name), device=device)
        recording = make_recording(folder / "minute.wav", 60.0)
        talker.speak(recording, folder / "warm.mp4")
        report = talker.speak(recording, folder / "talk.mp4")
        fps = report.frame_count / report.seconds["total"]
        rows.append(Row(f"{card}: frames/s, {size} px, x264 veryfast", fps, "1/s", ">=", ACCELERATOR_FPS[size]))
    long = make_character("A", outputs=OUTPUTS / "long", studio_seconds=180.0, renderer_steps=6000)
    summary = load_json(long / "05_neural_renderer" / "summary.json")
    minutes = (summary["timings_s"]["pairs"] + summary["timings_s"]["training"]) / 60
    metrics, label = summary["metrics"], f"{card}: 3 min of video, 512 px"
    return [
        *rows,
        Row(f"{label}, drawing and training", minutes, "min", "<=", ACCELERATOR_MINUTES),
        Row(f"{label}, SSIM inside the mask of held-out frames", metrics["ssim_mask"], "", ">=", 0.87),
        Row(f"{label}, the same of blurred ones (cheat)", metrics["blurred_ssim_mask"], "", ">=", 0.87, True),
    ]


def main() -> None:
    """Run the benchmark and exit with 1 when a row falls short."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = {"speed": speed_rows, "memory": memory_rows, "kill": kill_rows, "accelerator": accelerator_rows}
    parser.add_argument("--parts", nargs="+", default=list(parts), choices=list(parts))
    parser.add_argument("--speak", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--hold", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.speak:
        speak_once(*arguments.speak, is_holding=arguments.hold)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.parts:
            rows += parts[name](Path(folder))
    sys.exit(finish("talk", rows))


if __name__ == "__main__":
    main()
