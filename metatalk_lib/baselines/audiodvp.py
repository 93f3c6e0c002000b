"""AudioDVP's configuration, the paper's baseline: 256 px, and A2E trained on the person's own speech alone.

Differences from ours: no pseudo video; AudioDVP's A2E; a 256 px crop whatever the source's resolution; a renderer whose
input is seven synthetic frames and nothing else; training on full renders cut by the mask but testing on uncut
lower-face renders (its own mismatch, kept); eroded and blurred compositing. The finished square is enlarged into the
source frame by the crop's inverse, so that all methods are compared at the same place.

Our renderer starts from the shipped prior, which was trained on other people; this one starts from random weights, as
the published one does.

Parts shared with ours, which thus differ from the published code: the face model and its fit, the open audio encoder,
the trainers' optimisation schedules (A2E starts from ridge regression, the renderer's learning rate follows a cosine,
no mirrored images), the L1 loss over the mask only, and the mask's rectangle instead of the square where the depth
permits it.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.audio_to_expression.model import TrainedA2E, load_a2e, predict_expression, save_a2e
from metatalk_lib.audio_to_expression.streaming import predict_speech
from metatalk_lib.audio_to_expression.training import A2ESettings, train_a2e
from metatalk_lib.baselines.opening import open_talk
from metatalk_lib.baselines.timed_training import train_for
from metatalk_lib.core.artifacts import save_json
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.progress import track
from metatalk_lib.face3d.coefficients import Coefficients, repose
from metatalk_lib.face3d.face_model import FaceModel, load_face_model
from metatalk_lib.face3d.face_renderer import render_face
from metatalk_lib.media.audio import Audio, frame_count_for, read_audio, to_mono_16k
from metatalk_lib.media.frame_order import neighbourhoods, ping_pong, read_in_order
from metatalk_lib.media.video import read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.neural_renderer.compositing import blend
from metatalk_lib.neural_renderer.conditioning import Condition, stack_window
from metatalk_lib.neural_renderer.drawing import DrawnFrame, draw_frame
from metatalk_lib.neural_renderer.generator import NeuralRenderer, RendererSettings, load_renderer, save_renderer
from metatalk_lib.neural_renderer.lower_face_region import dilated_mask, find_roi
from metatalk_lib.neural_renderer.sampling import TrainingSettings
from metatalk_lib.neural_renderer.training import train_renderer
from metatalk_lib.neural_renderer.training_pairs import PairRow, RendererPairs, remove_pairs, render_pairs
from metatalk_lib.speech.audio_encoder import encode_audio, load_audio_encoder
from metatalk_lib.speech.mfcc import compute_mfcc_blocks, compute_public_mfcc_blocks
from metatalk_lib.talk.character import Character, load_character
from metatalk_lib.tracking.crop import load_crop

SIZE_PX = 256
AUDIODVP_WINDOW = 7
PUBLISHED_WIDTH = 64
PUBLISHED_DEPTH = 8
PUBLIC_FPS = Fraction(25)
"""Frame rate of AudioDVP and AT-net, Hz; AudioDVP's counting rule applies at no other."""
GAN_WEIGHT = 0.01
"""Eq. 4's lambda: AudioDVP weights L1 by 100 and the adversarial term by 1."""
MIN_TRAINING_FRAMES = 28
A2E_EPOCHS, A2E_BATCH, A2E_RATE = 10, 5, 1e-3
ERODE_ITERATIONS = 9
BLUR_SIZE_PX, BLUR_SIGMA_PX = 5, 4.0


@dataclass(frozen=True)
class AudioDVPSettings:
    """Size and length of the baseline's training.

    Attributes:
        width: channels of the U-Net's first level; 64 is the published one.
        depth: number of halvings; the published 8 paints the whole 256 px square, fewer only the mask's rectangle.
        refine: whether the U-Net has the published refinement blocks.
        steps: optimiser steps of the renderer; with `seconds`, as many as fit in that time.
        batch: frames per step.
        learning_rate: initial learning rate; the published 2e-4 stays constant, ours falls.
        seed: seed of weights and orders.
        seconds: training time of the renderer, s; 0 uses `steps`.
    """

    width: int
    depth: int
    refine: bool
    steps: int
    batch: int
    learning_rate: float
    seed: int
    seconds: float = 0.0

    @property
    def label(self) -> str:
        """Label in the tables, which states any deviation from the published size."""
        widths = {32: "half width", 16: "quarter width", 8: "eighth width"}
        differs = {
            widths.get(self.width, f"width {self.width}"): self.width != PUBLISHED_WIDTH,
            f"depth {self.depth}": self.depth != PUBLISHED_DEPTH,
            "not refined": not self.refine,
        }
        said = ", ".join(name for name, is_said in differs.items() if is_said)
        return f"AudioDVP ({said})" if said else "AudioDVP"


def train(
    character_dir: Path, folder: Path, settings: AudioDVPSettings, *, device: torch.device | None = None
) -> dict[str, object]:
    """Train the baseline's two networks on the person's own video without the held-out tail.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        folder: output folder of `a2e/`, `renderer/` and `history.json`; a killed training resumes from its checkpoint.
        settings: size and length of the training.
        device: device on which the renderer is trained; the CPU by default.

    Returns:
        Training history: losses of both networks and the numbers of frames used.

    Raises:
        DataError: a stage's file is missing, or too few frames are left for training.
        ParameterError: a setting is out of range.

    Source: Wen et al. 2020; facts of xinwen-cs/AudioDVP train_exp.py, utils/build_nfr_dataset.py (BSD); no code copied.
    """
    character = load_character(character_dir)
    start = int(load_crop(character_dir / "01_crop" / "crop.json")["held_out_start"])
    frames = np.arange(start)
    if start < MIN_TRAINING_FRAMES:
        raise DataError(
            f"{character_dir}: {start} frames before the held-out tail are too few to train on. Use a longer video."
        )
    audio = read_audio(character_dir / "01_crop" / "audio.wav")
    a2e, a2e_history = train_own_speech(audio, character, start, seed=settings.seed)
    save_a2e(a2e, folder / "a2e")
    model, work = load_face_model(character.coefficients.face_model), folder / "pairs"
    pairs = make_pairs(
        model, character.coefficients, character_dir / "01_crop" / "face_256.mp4", frames, settings, work
    )
    network = RendererSettings(
        AUDIODVP_WINDOW, settings.width, settings.depth, settings.refine, SIZE_PX, pairs.roi, surroundings=False
    )
    checkpoint, plan = folder / "checkpoint.safetensors", folder / "plan.json"

    def train_steps(count: int) -> tuple[NeuralRenderer, dict[str, list]]:
        training = _training(replace(settings, steps=count))
        steps = track(range(count), "training AudioDVP", unit="step")
        return train_renderer(pairs, network, training, checkpoint=checkpoint, device=device, steps=steps)

    if settings.seconds > 0:
        renderer, losses = train_for(settings.seconds, train_steps, checkpoint, plan, asdict(settings))
    else:
        renderer, losses = train_steps(settings.steps)
    save_renderer(renderer, folder / "renderer", losses)
    history = {
        "label": settings.label,
        "a2e": a2e_history,
        "renderer": losses,
        "renderer_frames": int(pairs.valid.sum()),
    }
    save_json(folder / "history.json", history)
    for path in (checkpoint, plan):  # a later call starts a new training from the beginning
        path.unlink(missing_ok=True)
    remove_pairs(work)
    return history


def train_own_speech(
    audio: Audio, character: Character, held_out_start: int, *, seed: int
) -> tuple[TrainedA2E, dict[str, object]]:
    """Train AudioDVP's A2E on the person's own audio and fitted expressions.

    AudioDVP keeps only whole seconds of the public feature count, which loses the last second at 25 fps; kept here.
    Frames whose fit is not valid are not used as targets, and are counted.

    Args:
        audio: audio of the source, from its beginning.
        character: the character with its coefficients.
        held_out_start: first frame that must not be used.
        seed: seed of weights and order.

    Returns:
        The network, and its losses with the number of frames used and of those among them that are not valid.

    Raises:
        DataError: fewer frames than one second are left.
    """
    fps = character.fps
    samples = to_mono_16k(audio)[: round(Fraction(held_out_start * 16000) / fps)]
    count = held_out_start
    if fps == PUBLIC_FPS:
        count = len(compute_public_mfcc_blocks(samples)) // 25 * 25
    if count < 25:
        raise DataError(
            f"AudioDVP's A2E: {count} frames of own speech are left, at least 25 are needed. Use a longer video."
        )
    features = encode_audio(load_audio_encoder(), compute_mfcc_blocks(samples, held_out_start, fps))[:count]
    own = character.coefficients.select(np.arange(count))
    settings = A2ESettings(
        architecture="audiodvp", epochs=A2E_EPOCHS, batch_size=A2E_BATCH, learning_rate=A2E_RATE, seed=seed
    )
    a2e, history = train_a2e([features], [own.expression], settings, valid=[own.valid])
    losses = {"training": list(history.training), "held_out": list(history.held_out)}
    return a2e, losses | {"frames": count, "frames_not_valid": int((~own.valid).sum())}


def make_pairs(
    model: FaceModel,
    coefficients: Coefficients,
    video: Path,
    frame_id: Int[np.ndarray, " T"],
    settings: AudioDVPSettings,
    folder: Path,
) -> RendererPairs:
    """Make AudioDVP's training pairs: full render and real image, both cut by the mask.

    Args:
        model: the face model.
        coefficients: coefficients of the whole clip; the rectangle contains every frame's mask.
        video: the 256 px face video.
        frame_id: consecutive training frames, from 0.
        settings: settings whose depth determines the rectangle.
        folder: output folder of the arrays, memory-mapped.
    """
    roi = find_roi(model, coefficients, SIZE_PX, multiple=2**settings.depth, region="lower")

    def draw(row: int, frame: np.ndarray) -> PairRow:
        mask = dilated_mask(model, coefficients, row, SIZE_PX, roi, region="lower")
        whole = render_face(model, coefficients, row, SIZE_PX, window=(*roi,)).image
        return PairRow(whole * mask[..., None], mask, roi.cut(frame) * mask[..., None])

    frames = read_frames(video, int(frame_id[0]), int(frame_id[-1]) + 1)
    numbered = zip(track(frame_id.tolist(), "drawing AudioDVP's pairs"), frames, strict=True)
    return render_pairs(model, coefficients, numbered, len(frame_id), roi, folder, draw=draw)


def talk_audiodvp(
    character_dir: Path,
    audio_path: Path,
    output: Path,
    *,
    trained_dir: Path,
    a2e_dir: Path | None = None,
    start_frame: int = 0,
    device: torch.device | None = None,
) -> Path:
    """Make the person of a character folder speak a recording, with AudioDVP's method.

    Args:
        character_dir: `outputs/<character>`, with stages 01 and 03.
        audio_path: any recording that can be decoded.
        output: the .mp4 to write, at the source's size.
        trained_dir: output folder of `train`.
        a2e_dir: folder of another A2E network, such as ours for the ablation.
        start_frame: source frame shown first.
        device: device on which the painting runs; the CPU by default.

    Returns:
        `output`.

    Raises:
        DataError: a file is missing or does not fit.
        ParameterError: `start_frame` is not in the source, or `output` is not an .mp4 or is one of the input files.

    Source: Wen et al. 2020; facts of xinwen-cs/AudioDVP reenact.py, comp.py (BSD). AudioDVP stops at the end of the
    source; here the source plays forth and back, as for every method.
    """
    character = open_talk(character_dir, audio_path, output, start_frame)
    renderer = load_renderer(trained_dir / "renderer", load_face_model(character.coefficients.face_model), device)
    a2e, audio = load_a2e(a2e_dir or trained_dir / "a2e"), read_audio(audio_path)
    expression = predict(audio, character.fps, a2e)
    order = ping_pong(start_frame, character.frame_count, len(expression))
    driven = repose(character.coefficients, order, expression)
    frames = track(paint_audiodvp_frames(character, renderer, driven, order), "talking as AudioDVP", total=len(order))
    write_video(output, frames, fps=character.fps, audio=audio)
    return output


def predict(audio: Audio, fps: Fraction, a2e: TrainedA2E) -> Float[np.ndarray, "T 64"]:
    """Predict the expression of every video frame; our A2E is smoothed and closed in silence, AudioDVP's is unchanged.

    Args:
        audio: the recording.
        fps: frame rate of the video, Hz.
        a2e: trained network.
    """
    if a2e.architecture != "audiodvp":
        return predict_speech(audio, fps, a2e)[0]
    blocks = compute_mfcc_blocks(to_mono_16k(audio), frame_count_for(audio, fps), fps)
    return predict_expression(a2e, encode_audio(load_audio_encoder(a2e.audio_encoder), blocks)).astype(np.float32)


def paint_audiodvp_frames(
    character: Character, renderer: NeuralRenderer, driven: Coefficients, order: Int[np.ndarray, " T"]
) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
    """Yield the finished frames: the 256 px square, enlarged into the source's place.

    Args:
        character: the person.
        renderer: the trained network.
        driven: coefficients of the output frames.
        order: source frame of each output frame.
    """
    model, roi = load_face_model(driven.face_model), renderer.settings.roi
    transform = replace(character.transform, size=SIZE_PX)
    drawn = (draw_frame(model, driven, index, SIZE_PX, roi, region="lower") for index in range(len(driven)))
    together = zip(read_in_order(character.source, order), neighbourhoods(drawn, AUDIODVP_WINDOW), strict=True)
    for source, neighbours in together:
        square, centre = transform.crop_image(source), cast(DrawnFrame, neighbours[AUDIODVP_WINDOW // 2])
        window, known = stack_window([None if frame is None else frame.image for frame in neighbours])
        background = np.ascontiguousarray(roi.cut(square))
        condition = Condition(window[None], known[None], background[None], centre.mask[None], centre.references[None])
        finished = square.copy()
        roi.cut(finished)[:] = composite(background, renderer.paint(condition)[0], centre.mask)
        yield transform.paste(source, finished)


def composite(
    background: UInt8[np.ndarray, "H W 3"], paint: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Composite as AudioDVP: mask eroded nine times, blurred, then mask * paint + (1 - mask) * background, rounded.

    Args:
        background: the 256 px crop, or a rectangle of it.
        paint: painted picture of the network.
        mask: dilated lower-face mask.

    Source: facts of xinwen-cs/AudioDVP comp.py (BSD).
    """
    return blend(background, paint, soften_mask(mask))


def soften_mask(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Erode by 3 x 3 nine times, then blur by a 5 x 5 Gaussian of sigma 4 px; opacity in [0, 1]."""
    eroded = cv2.erode(mask.astype(np.uint8) * 255, np.ones((3, 3), np.uint8), iterations=ERODE_ITERATIONS)
    return cv2.GaussianBlur(eroded, (BLUR_SIZE_PX, BLUR_SIZE_PX), BLUR_SIGMA_PX).astype(np.float32) / 255


def _training(settings: AudioDVPSettings) -> TrainingSettings:
    return TrainingSettings(
        steps=settings.steps,
        batch=settings.batch,
        learning_rate=settings.learning_rate,
        gan_weight=GAN_WEIGHT,
        gan_start=0.0,
        gan_width=settings.width,
        checkpoint_steps=50,
        seed=settings.seed,
    )
