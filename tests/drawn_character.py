"""A character folder in the formats of stages 01 and 03, made from the face model's own renders: exact coefficients."""

from fractions import Fraction
from pathlib import Path

import numpy as np

from metatalk_lib.core.artifacts import save_arrays
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import expression_open_mouth, render_face
from metatalk_lib.media.audio import Audio, write_audio
from metatalk_lib.media.video import probe_video
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.tracking.crop import CropTransform, save_crop, write_face_videos
from metatalk_lib.tracking.landmarks import LandmarkTrack

FPS, FRAMES, HELD_OUT = Fraction(25), 56, 40
WIDTH, HEIGHT, SIDE = 300, 280, 256
TRANSFORM = CropTransform(left=20, top=-6, side=SIDE, size=SIDE)


def openings() -> np.ndarray:
    """Compute the mouth opening of each frame, 0 to 1."""
    kernel = np.hanning(5)
    return np.convolve(np.random.default_rng(4).uniform(0, 1, FRAMES + 4), kernel / kernel.sum(), mode="valid")


def make_coefficients() -> Coefficients:
    expression = openings()[:, None] * expression_open_mouth(load_face_model())[None]
    illumination = np.zeros((FRAMES, 27), np.float32)
    illumination[:, [3, 12, 21]] = -0.15
    rotation = np.zeros((FRAMES, 3), np.float32)
    rotation[:, 1] = 0.05 * np.sin(np.arange(FRAMES) / 6)
    return Coefficients(
        frame_id=np.arange(FRAMES),
        identity=np.zeros(80, np.float32),
        texture=np.zeros(80, np.float32),
        expression=expression.astype(np.float32),
        illumination=illumination,
        rotation=rotation,
        translation=np.zeros((FRAMES, 3), np.float32),
        valid=np.ones(FRAMES, bool),
        landmark_error_px=np.zeros(FRAMES, np.float32),
    )


def draw_source(coefficients: Coefficients) -> list[np.ndarray]:
    """Frames of 300 x 280 px: the render on a grained backdrop, the crop reaching 6 px above the frame."""
    model = load_face_model()
    backdrop = np.random.default_rng(1).integers(90, 130, (HEIGHT, WIDTH, 3), np.uint8)
    frames = []
    for row in range(len(coefficients)):
        image, mask = render_face(model, coefficients, row, SIDE)
        frame = backdrop.copy()
        part = frame[: SIDE + TRANSFORM.top, TRANSFORM.left : TRANSFORM.left + SIDE]
        part[mask[-TRANSFORM.top :]] = image[-TRANSFORM.top :][mask[-TRANSFORM.top :]]
        frames.append(frame)
    return frames


def make_character(outputs: Path, name: str = "drawn") -> Path:
    """Write `<outputs>/<name>/01_crop` and `03_reconstruction`, and a source with `truth.npz` beside it."""
    folder = outputs / name
    coefficients = make_coefficients()
    source = outputs / "sources" / name / "source.mp4"
    rate, curve = 16000, np.repeat(openings(), 640)
    sound = (np.random.default_rng(2).normal(0, 0.2, len(curve)) * curve).astype(np.float32)
    audio = Audio(np.clip(sound, -1, 1)[:, None], rate)
    write_video(source, draw_source(coefficients), fps=FPS, audio=audio)
    info = probe_video(source)
    save_crop(folder / "01_crop" / "crop.json", TRANSFORM, info, HELD_OUT)
    write_face_videos(source, TRANSFORM, folder / "01_crop" / "face.mp4", folder / "01_crop" / "face_256.mp4")
    write_audio(folder / "01_crop" / "audio.wav", audio)
    tail = Audio(audio.samples[HELD_OUT * 640 :], rate)
    write_audio(outputs / "tail.wav", tail)
    coefficients.save(folder / "03_reconstruction" / "coefficients.npz")
    make_landmarks().save(folder / "01_crop" / "landmarks.npz")
    save_arrays(source.parent / "truth.npz", frame_id=np.arange(FRAMES), mouth_opening_px=20 * openings())
    return folder


def make_landmarks() -> LandmarkTrack:
    """Landmarks whose inner lips are apart by the true opening."""
    points = np.zeros((FRAMES, 68, 2), np.float32)
    points[:, [65, 66, 67], 1] = 20 * openings()[:, None]
    boxes = np.tile(np.float32([50, 40, 250, 240]), (FRAMES, 1))
    return LandmarkTrack(np.arange(FRAMES), points, points, boxes, np.ones(FRAMES, bool))
