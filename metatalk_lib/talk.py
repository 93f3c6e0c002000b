"""The test phase: any recording → expressions → synthetic lower faces → painted ones → sewn into the source → video.

Everything streams, so that memory does not grow with the length of the recording. The source plays forth and back
where the recording is longer, which repeats no frame at a turn and never jumps.
"""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.artifacts import load_json
from metatalk_lib.audio import (
    Audio,
    Recording,
    open_audio,
    read_audio,
    stream_mono_16k,
    write_audio,
)
from metatalk_lib.audio_encoder import hear_pauses, load_audio_encoder, load_open_speech, stream_features
from metatalk_lib.audio_to_expression import (
    TrainedA2E,
    close_mouth_in_silence,
    load_a2e,
    smooth_expression,
    stream_expression,
)
from metatalk_lib.composite import Sewn, sew
from metatalk_lib.crop import CropTransform
from metatalk_lib.errors import DataError, ParameterError
from metatalk_lib.face_model import Coefficients, FaceModel, load_face_model
from metatalk_lib.networks.open_audio_encoder import SpeechHeads
from metatalk_lib.neural_renderer import NeuralRenderer, load_renderer
from metatalk_lib.params import RendererConfig
from metatalk_lib.paths import resolve_path
from metatalk_lib.progress import track
from metatalk_lib.renderer_data import Roi, dilated_mask, draw_lower_face, rows_by_frame
from metatalk_lib.silence import find_silent_frames, find_unspoken_frames, measure_power
from metatalk_lib.speech import synthesize
from metatalk_lib.video import probe_video, read_frames, write_video

SMOOTHING_MS = 20.0
"""Gaussian smoothing of the predicted expression: takes out single-frame jitter, keeps closures."""
REVERSED_BYTES = 128_000_000
"""Playing backwards decodes at most this much at once."""


@dataclass(frozen=True)
class Character:
    """What stages 01 and 03 know of a person.

    Attributes:
        source: the source video.
        fps: its frame rate.
        frame_count: its frames.
        transform: the crop's place in it.
        coefficients: of every frame.
    """

    source: Path
    fps: Fraction
    frame_count: int
    transform: CropTransform
    coefficients: Coefficients


@dataclass(frozen=True)
class TalkReport:
    """What a finished video is.

    Attributes:
        output: the file.
        frame_count, fps: of the video.
        audio_s, video_s: lengths, s; they differ by less than a frame.
        silent_frames: frames in which nothing is said and the mouth is closed.
        reversed_frames: frames during which the source plays backwards.
        changed_outside_px: pixels outside the mask that differ from the source before encoding; always 0.
        seconds: wall time of the parts.
    """

    output: Path
    frame_count: int
    fps: Fraction
    audio_s: float
    video_s: float
    silent_frames: int
    reversed_frames: int
    changed_outside_px: int
    seconds: dict[str, float]


def talk(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    a2e_dir: Path | None = None,
    renderer_dir: Path | None = None,
    start_frame: int = 0,
    device: torch.device | None = None,
) -> TalkReport:
    """Make the person of a finished character folder speak a recording.

    Args:
        character_dir: `outputs/<character>`, with stages 01, 03, 04 and 05.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write; it appears only when it is whole.
        a2e_dir: another folder for the A2E network.
        renderer_dir: another folder for the neural renderer.
        start_frame: source frame shown first.
        device: where the painting runs; CPU by default.

    Raises:
        ParameterError: `start_frame` is not in the source.
        DataError: a stage's file is missing or does not fit, or the recording cannot be used.

    Source: paper section 2 (test phase), Fig. 1.
    """
    character = load_character(character_dir)
    order_start = _check_start(start_frame, character)
    a2e = load_a2e(a2e_dir or character_dir / "04_audio_to_expression")
    renderer = load_renderer(renderer_dir or character_dir / "05_neural_renderer", device)
    audio = open_audio(audio_path)
    clock = _Clock()
    expression, silent = predict_speech(audio, character.fps, a2e)
    clock.lap("audio to expression")
    order = ping_pong(order_start, character.frame_count, len(expression))
    driven = drive(character.coefficients, order, expression)
    frames = track(render_frames(character, renderer, driven, order, clock), "talking", total=len(order))
    changed = _Tally()
    write_video(output, changed.images(frames), fps=character.fps, audio=audio)
    return TalkReport(
        output=output,
        frame_count=len(order),
        fps=character.fps,
        audio_s=audio.duration_s,
        video_s=float(len(order) / character.fps),
        silent_frames=int(silent.sum()),
        reversed_frames=int((np.diff(order) < 0).sum()),
        changed_outside_px=changed.outside_px,
        seconds=clock.finish("encode"),
    )


def load_character(character_dir: Path) -> Character:
    """Read what stages 01 and 03 left.

    Raises:
        DataError: a file is missing, the source video has changed since, or frames lack coefficients.
    """
    crop_path = character_dir / "01_crop" / "crop.json"
    crop = load_json(crop_path)
    transform = CropTransform(left=crop["left"], top=crop["top"], side=crop["side"], size=crop["size"])
    info = probe_video(crop["source"])
    found, expected = (info.width, info.height, info.frame_count), (crop["width"], crop["height"], crop["frame_count"])
    if found != expected:
        raise DataError(
            f"{crop['source']} has (width, height, frames) {found}, but {crop_path} was made from {expected}. "
            "The video has changed: run from 01_crop again."
        )
    coefficients = Coefficients.load(character_dir / "03_reconstruction" / "coefficients.npz")
    missing = sorted(set(range(info.frame_count)) - set(coefficients.frame_id.tolist()))
    if missing:
        raise DataError(
            f"03_reconstruction has no coefficients for {len(missing)} of {info.frame_count} frames, the first is "
            f"{missing[0]}. Run 03_reconstruction again."
        )
    return Character(Path(crop["source"]), Fraction(*crop["fps"]), info.frame_count, transform, coefficients)


def cut_audio(audio_path: Path, start_s: Fraction | float, output: Path) -> Path:
    """Write a recording's part from `start_s` seconds on as WAV, at its own rate; returns `output`.

    Raises:
        ParameterError: nothing is left.
    """
    audio = read_audio(audio_path)
    samples = audio.samples[round(start_s * audio.rate) :]
    if not len(samples):
        raise ParameterError(f"{audio_path} ends before {float(start_s):.2f} s. Choose an earlier start.")
    write_audio(output, Audio(samples, audio.rate))
    return output


def prepare_driving_audio(config: RendererConfig, output: Path) -> Path:
    """The recording to speak: the user's, or `driving_text` spoken by a synthetic voice and written to `output`.

    Raises:
        DataError: the user's recording does not exist.
    """
    if config.driving_audio:
        path = resolve_path(config.driving_audio)
        if not path.is_file():
            raise DataError(f"the recording {path} does not exist. Check the parameter `driving_audio`.")
        return path
    speech = synthesize(config.driving_text, config.driving_voice)
    write_audio(output, speech.audio)
    return output


def _check_start(start_frame: int, character: Character) -> int:
    if not 0 <= start_frame < character.frame_count:
        raise ParameterError(f"start_frame is {start_frame}; the source has frames 0 to {character.frame_count - 1}.")
    return start_frame


def predict_speech(
    audio: Recording, fps: Fraction, a2e: TrainedA2E
) -> tuple[Float[np.ndarray, "T 64"], Bool[np.ndarray, " T"]]:
    """Expression of every video frame of a recording, the mouth closed where nobody speaks; and which frames these are.

    A quiet frame is silent; with the open encoder, whose heads tell speech from other sounds, music and noise are, too.
    """
    pauses: list[Float[np.ndarray, " _"]] = []
    if a2e.audio_encoder == "open":
        encoder, heads = load_open_speech()
        features = _listen(stream_features(encoder, audio, fps), heads, pauses)
    else:
        features = stream_features(load_audio_encoder(a2e.audio_encoder), audio, fps)
    predicted = np.concatenate(list(stream_expression(a2e, features)))
    expression = smooth_expression(predicted, fps=float(fps), sigma_ms=SMOOTHING_MS)
    silent = find_silent_frames(measure_power(stream_mono_16k(audio)), len(expression), fps)
    if pauses:
        silent |= find_unspoken_frames(np.concatenate(pauses), fps)
    return close_mouth_in_silence(expression, silent, float(fps)).astype(np.float32), silent


def _listen(
    features: Iterable[Float[np.ndarray, "_ 256"]], heads: SpeechHeads, pauses: list[Float[np.ndarray, " _"]]
) -> Iterator[Float[np.ndarray, "_ 256"]]:
    """Pass features on and append each group's probabilities of a pause."""
    for group in features:
        pauses.append(hear_pauses(group, heads))
        yield group


def ping_pong(start: int, frame_count: int, length: int) -> Int[np.ndarray, " T"]:
    """Source frame of each output frame: start, start + 1, ..., last, last − 1, ..., 0, 1, ...

    Neighbours always differ by one (or by nothing, where the source has a single frame).

    Args:
        start: first source frame.
        frame_count: frames of the source.
        length: frames wanted.
    """
    if frame_count == 1:
        return np.zeros(length, np.int64)
    period = 2 * (frame_count - 1)
    place = (start + np.arange(length, dtype=np.int64)) % period
    return np.where(place < frame_count, place, period - place)


def read_in_order(path: Path, order: Int[np.ndarray, " T"]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Decode the frames of a ping-pong order; backwards in chunks, so that memory stays flat.

    Args:
        path: the video.
        order: frame_ids whose neighbours differ by one, or all the same.
    """
    info = probe_video(path)
    chunk = max(8, REVERSED_BYTES // (3 * info.width * info.height))
    begin = 0
    while begin < len(order):
        end = _run_end(order, begin, chunk)
        first, last = int(order[begin]), int(order[end - 1])
        if first <= last:
            yield from read_frames(path, first, last + 1)
        else:
            yield from reversed(list(read_frames(path, last, first + 1)))
        begin = end


def _run_end(order: np.ndarray, begin: int, chunk: int) -> int:
    """End of the run of frames that begins at `begin`; a backward one has at most `chunk` frames."""
    steps = np.diff(order[begin:])
    if not len(steps) or steps[0] == 0:
        return begin + 1
    turns = np.flatnonzero(steps != steps[0])
    length = int(turns[0]) + 1 if len(turns) else len(steps) + 1
    return begin + (min(length, chunk) if steps[0] < 0 else length)


def drive(
    coefficients: Coefficients, order: Int[np.ndarray, " T"], expression: Float[np.ndarray, "T 64"]
) -> Coefficients:
    """The source's pose and light in playing order, with the driving expression; `frame_id` counts output frames."""
    rows_of = rows_by_frame(coefficients)
    rows = np.array([rows_of[int(number)] for number in order])
    per_frame = ("illumination", "rotation", "translation", "valid", "landmark_error_px")
    played = {name: getattr(coefficients, name)[rows] for name in per_frame}
    return dataclasses.replace(
        coefficients, frame_id=np.arange(len(order)), expression=expression.astype(np.float32), **played
    )


def render_frames(
    character: Character,
    renderer: NeuralRenderer,
    driven: Coefficients,
    order: Int[np.ndarray, " T"],
    clock: "_Clock | None" = None,
) -> Iterator[tuple[UInt8[np.ndarray, "H W 3"], Sewn]]:
    """Yield each source frame and the finished frame made from it.

    Args:
        character: the person.
        renderer: the trained network.
        driven: coefficients of the output frames, see `drive`.
        order: source frame of each output frame.
        clock: collects wall times.

    Raises:
        DataError: the renderer was trained for another crop size.
    """
    settings, clock, model = renderer.settings, clock or _Clock(), load_face_model(driven.face_model)
    if settings.size != character.transform.size:
        raise DataError(
            f"the neural renderer was trained on a {settings.size} px crop, 01_crop made {character.transform.size} px."
            " Run 05_neural_renderer again."
        )
    roi = settings.roi
    windows = synthetic_windows(model, driven, settings.size, roi, settings.window)
    for index, source in enumerate(read_in_order(character.source, order)):
        clock.lap("encode" if index else "start")
        crop = roi.cut(character.transform.crop_image(source))
        clock.lap("decode and crop")
        images, known = next(windows)
        mask = dilated_mask(model, driven, index, settings.size, roi)
        clock.lap("draw")
        paint = renderer.paint(images[None], known[None], crop[None], mask[None])[0]
        clock.lap("paint")
        sewn = sew(source, paint, mask, character.transform, roi)
        clock.lap("sew")
        yield source, sewn


def synthetic_windows(
    model: FaceModel, driven: Coefficients, size: int, roi: Roi, width: int
) -> Iterator[tuple[UInt8[np.ndarray, "K H W 3"], Bool[np.ndarray, " K"]]]:
    """Yield for each frame the synthetic lower faces of the `width` frames round it, oldest first, and which exist.

    Each frame is drawn once.
    """
    half, drawn = width // 2, {}
    for index in range(len(driven)):
        wanted = range(index - half, index + half + 1)
        known = np.array([0 <= number < len(driven) for number in wanted])
        for number in wanted:
            if 0 <= number < len(driven) and number not in drawn:
                drawn[number] = draw_lower_face(model, driven, number, size, roi)
        drawn.pop(index - half - 1, None)
        yield np.stack([drawn.get(number, np.zeros_like(drawn[index])) for number in wanted]), known


class _Clock:
    """Wall time by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = self.started = time.perf_counter()

    def lap(self, part: str) -> None:
        now = time.perf_counter()
        self.seconds[part] = self.seconds.get(part, 0.0) + now - self.last
        self.last = now

    def finish(self, part: str) -> dict[str, float]:
        self.lap(part)
        return self.seconds | {"total": time.perf_counter() - self.started}


class _Tally:
    """Passes finished frames on and counts pixels that changed outside the mask."""

    def __init__(self) -> None:
        self.outside_px = 0

    def images(self, frames: Iterator[tuple[np.ndarray, Sewn]]) -> Iterator[np.ndarray]:
        for source, sewn in frames:
            self.outside_px += int(((source != sewn.image).any(axis=2) & ~sewn.mask).sum())
            yield sewn.image
