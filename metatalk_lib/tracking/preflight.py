"""Preflight check: whether a source video is suitable, before hours are spent on it.

Every check has a status, a measured value and advice. `error` means that the suite cannot use the video, `notice` that
the result will be worse than it could be.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from jaxtyping import Float

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.core.findings import Check, Status, format_checks
from metatalk_lib.media.audio import FEATURE_RATE, frame_count_for, read_audio, to_mono_16k
from metatalk_lib.media.video import VideoInfo, probe_video
from metatalk_lib.speech.silence import compute_level_db, find_silence, measure_power
from metatalk_lib.tracking.crop import CROP_SIZES, LARGEST_CROP_ENLARGEMENT, NATURAL_SIDE
from metatalk_lib.tracking.face_detector import MINIMUM_FACE_PX, FacePosition, face_width
from metatalk_lib.tracking.frame_sampler import FrameSampler, Samples
from metatalk_lib.tracking.landmarks import LandmarkTrack, format_frames

MOST_SQUEEZED = 0.01
"""Largest deviation of the pixel aspect ratio from 1 that counts as square."""
LEAST_SECONDS, LEAST_FRAMES = 2, 42
"""Shortest clip: a third of it is held out, and the rest trains the compared methods, too."""
LARGEST_GAP_S = 0.1
"""Largest difference in length of sound and picture that no one notices, s."""
LEAST_SOUND = 0.5
"""Least length of the sound, of the picture's."""

# bridge and tip of the nose, nostrils, corners of the eyes (landmarks 27-35, 36, 39, 42, 45) of the open face
# model's mean face (CC0 data); centimetres, x right, y up, z towards the camera
_RIGID_POINTS = np.r_[27:36, 36, 39, 42, 45]
_RIGID_HEAD_CM = np.array(
    [(0.0, 2.6, 0.0), (0.0, 1.4, 0.2), (0.0, 0.1, 1.0), (0.0, -1.2, 1.8), (-1.1, -2.0, 0.2), (-0.6, -2.3, 0.6),
     (0.0, -2.5, 0.7), (0.6, -2.3, 0.6), (1.1, -2.0, 0.2), (-4.0, 2.1, -1.5), (-1.8, 2.1, -1.2), (1.8, 2.1, -1.2),
     (4.0, 2.1, -1.5)]
)  # fmt: skip


@dataclass(frozen=True)
class Preflight:
    """The report on one video."""

    path: Path
    checks: tuple[Check, ...]

    @property
    def status(self) -> Status:
        """The worst status of all checks."""
        found = {check.status for check in self.checks}
        return "error" if "error" in found else "notice" if "notice" in found else "ok"

    @property
    def is_usable(self) -> bool:
        """Whether no check is an error."""
        return self.status != "error"

    def table(self) -> str:
        """The report as aligned text."""
        return f"preflight of {self.path}: {self.status}\n{format_checks(self.checks)}"

    def to_dict(self) -> dict[str, Any]:
        """The report for `preflight.json`."""
        return {"path": str(self.path), "status": self.status, "checks": [asdict(check) for check in self.checks]}

    def raise_on_error(self) -> None:
        """Stop where the video cannot be used.

        Raises:
            DataError: at least one check is an error; the message holds them all.
        """
        errors = [f"{check.name} {check.figure}. {check.advice}" for check in self.checks if check.status == "error"]
        if errors:
            raise DataError(f"{self.path} cannot be used: " + " ".join(errors))


def run_preflight(
    video_path: str | Path,
    *,
    track: LandmarkTrack | None = None,
    face_position: str = "only",
    max_missing_fraction: float = 0.02,
    sampler: FrameSampler | None = None,
) -> Preflight:
    """Check a video: streams, length, size, faces, pose, motion, sharpness, light and sound.

    Args:
        video_path: the video.
        track: landmarks of the video; if None, faces are detected in 24 sampled frames.
        face_position: position of the face to use among several.
        max_missing_fraction: largest share of frames without a face.
        sampler: sampler that has already seen the frames, with the same `face_position`; None reads some of them again.

    Raises:
        DataError: the file is missing, cut off, or not a video.
        ParameterError: there is no such `face_position`.

    Source: original to this project.
    """
    if face_position not in get_args(FacePosition):
        raise ParameterError(f"face_position is {face_position!r}; there are {', '.join(get_args(FacePosition))}.")
    position = cast(FacePosition, face_position)
    info = probe_video(video_path)
    if sampler is None:
        sampler = FrameSampler(info, position)
        sampler.read()
    samples = sampler.measure(track)
    checks = [*_check_picture(info), *_check_faces(samples, position, max_missing_fraction, track)]
    if samples.points:
        checks += _check_face_quality(samples, track)
    return Preflight(info.path, (*checks, *_check_sound(info)))


def estimate_head_pose(landmarks: Float[np.ndarray, "*T 68 2"]) -> Float[np.ndarray, "*T 3"]:
    """Estimate yaw, pitch and roll of a head, degrees, accurate to about five degrees; 0 is a frontal view.

    A scaled orthographic camera, x = A X + b with A (2, 3), is fitted to the rigid points of a mean head by least
    squares; the nearest pair of orthonormal rows to A gives the rotation M = Rz Ry Rx.

    Args:
        landmarks: 68 landmarks, px.

    Returns:
        Yaw is positive where the head turns to the picture's right, pitch where it looks down, roll where it tilts
        counter-clockwise.

    Source: original to this project; the camera is that of weak perspective, as in textbooks on computer vision.
    """
    points = landmarks[..., _RIGID_POINTS, :].astype(np.float64) * (1.0, -1.0)
    points = points - points.mean(axis=-2, keepdims=True)
    head = _RIGID_HEAD_CM - _RIGID_HEAD_CM.mean(axis=0)
    camera = np.swapaxes(points, -1, -2) @ np.linalg.pinv(head).T
    left, _, right = np.linalg.svd(camera, full_matrices=False)
    rows = left @ right
    third = np.cross(rows[..., 0, :], rows[..., 1, :])
    pitch = np.arctan2(third[..., 1], third[..., 2])
    yaw = np.arcsin(np.clip(-third[..., 0], -1.0, 1.0))
    roll = np.arctan2(rows[..., 1, 0], rows[..., 0, 0])
    return np.degrees(np.stack([yaw, pitch, roll], axis=-1))


def _check_picture(info: VideoInfo) -> list[Check]:
    fps = float(info.fps)
    variable = info.repeated_frames + info.dropped_frames
    rate = Check("frame rate", "ok", f"{fps:.3f} per s")
    if variable:
        rate = Check(
            "frame rate",
            "notice",
            f"variable, nominal {fps:.3f} per s; {info.repeated_frames} frames repeated, {info.dropped_frames} dropped",
            "Record at a constant frame rate.",
        )
    elif fps < 20:
        rate = Check("frame rate", "notice", f"{fps:.3f} per s", "Lips need at least 25 frames per second.")
    if info.duration_s < LEAST_SECONDS or info.frame_count < LEAST_FRAMES:
        figure = f"{info.duration_s:.2f} s, {info.frame_count} frames"
        advice = f"At least {LEAST_SECONDS} s and {LEAST_FRAMES} frames are needed, 3 minutes are good."
        length = Check("duration", "error", figure, advice)
    elif info.duration_s < 60:
        length = Check(
            "duration", "notice", f"{info.duration_s:.1f} s", "About 3 minutes of speech give the best result."
        )
    else:
        length = Check("duration", "ok", f"{info.duration_s:.1f} s")
    size = Check("picture", "ok", f"{info.width} x {info.height} px, {info.codec}")
    if abs(info.pixel_aspect - 1) > MOST_SQUEEZED:
        figure = f"{size.figure}, pixels {float(info.pixel_aspect):.3f} times as wide as high"
        size = Check("picture", "error", figure, "Convert to square pixels: ffmpeg -vf scale=iw*sar:ih,setsar=1.")
    return [size, *_check_colours(info), rate, length]


def _check_colours(info: VideoInfo) -> list[Check]:
    if info.has_high_range:
        advice = "Convert to standard range (BT.709) first, or switch HDR off in the camera."
        return [Check("colours", "error", "high dynamic range (PQ or HLG)", advice)]
    if info.bits > 8:
        return [Check("colours", "notice", f"{info.bits} bits", "The finished video has 8 bits.")]
    return [Check("colours", "ok", f"{info.bits} bits")]


def _check_faces(
    samples: Samples, position: FacePosition, max_missing: float, track: LandmarkTrack | None
) -> list[Check]:
    checks = []
    several = [int(i) for i, count in zip(samples.frame_ids, samples.face_counts, strict=True) if count > 1]
    if several and position == "only":
        advice = "Choose by face_position: largest, left, right or centre."
        checks.append(Check("faces", "error", f"more than one at frames {format_frames(several)}", advice))
    elif several:
        checks.append(
            Check(
                "faces", "notice", f"more than one at frames {format_frames(several)}", f"The {position} one is used."
            )
        )
    else:
        checks.append(Check("faces", "ok", f"at most one in {len(samples.frame_ids)} frames looked at"))
    if track is not None:
        hidden = track.occluded if track.occluded is not None else np.zeros_like(track.detected)
        missing, total = np.flatnonzero(~track.detected & ~hidden), len(track.detected)
        if hidden.any():
            figure = f"hidden in {hidden.sum()} of {total} frames: {format_frames(np.flatnonzero(hidden))}"
            advice = "No stage learns lips from such frames: keep hands and microphones away from the mouth."
            checks.append(Check("mouth", "notice", figure, advice))
    else:
        gone = [count == 0 for count in samples.face_counts]
        missing, total = samples.frame_ids[gone], len(samples.frame_ids)
    found = f"found in {total - len(missing)} of {total} frames" + (
        f"; not at {format_frames(missing)}" if len(missing) else ""
    )
    if len(missing) == total:
        advice = f"Give a video that shows a face from the front, at least {MINIMUM_FACE_PX} px wide."
        return [Check("face", "error", "found in no frame", advice)]
    # a few sampled frames cannot tell 2 % from 0, so they reject a video only if many of them lack a face
    limit = max_missing * total if track is not None else max(max_missing, 0.1) * total
    if len(missing) > limit:
        checks.append(Check("face", "error", found, "Cut these frames out, or raise max_missing_fraction."))
    elif len(missing):
        checks.append(Check("face", "notice", found, "Frames without a face are bridged."))
    else:
        checks.append(Check("face", "ok", found))
    return checks


def _check_face_quality(samples: Samples, track: LandmarkTrack | None) -> list[Check]:
    sampled = np.stack(list(samples.points.values()))
    points = track.landmarks if track is not None else sampled
    width = float(np.median(face_width(points)))
    if width < MINIMUM_FACE_PX:
        size = Check(
            "face width", "error", f"{width:.0f} px", f"At least {MINIMUM_FACE_PX} px are needed: film closer."
        )
    elif LARGEST_CROP_ENLARGEMENT * NATURAL_SIDE * width < CROP_SIZES[0]:
        needed = CROP_SIZES[0] / LARGEST_CROP_ENLARGEMENT / NATURAL_SIDE
        advice = f"Only a 256 px crop is possible; {needed:.0f} px give 512: film closer or at a higher resolution."
        size = Check("face width", "notice", f"{width:.0f} px", advice)
    else:
        size = Check("face width", "ok", f"{width:.0f} px")
    pose = estimate_head_pose(points)
    # extremes, robust against single bad frames
    yaw, pitch = (np.percentile(np.abs(pose[:, axis] - (0, np.median(pose[:, 1]))[axis]), 98) for axis in (0, 1))
    figure = f"turns by up to {yaw:.0f}, nods by up to {pitch:.0f} degrees"
    turned = Check("head pose", "ok", figure)
    if yaw > 35 or pitch > 25:
        turned = Check(
            "head pose", "notice", figure, "Turned far, a face shows half the mouth: keep within 35 degrees."
        )
    return [size, turned, _check_motion(samples, track, width), _check_sharpness(samples), _check_light(samples)]


def _check_motion(samples: Samples, track: LandmarkTrack | None, width: float) -> Check:
    if track is not None:
        centres = track.landmarks.mean(axis=1, dtype=np.float64)
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
    else:
        pairs = [(samples.points[i], samples.points[i + 1]) for i in samples.points if i + 1 in samples.points]
        steps = np.array([np.linalg.norm((after - before).mean(axis=0)) for before, after in pairs])
    share = float(np.percentile(steps, 95)) / width if len(steps) else 0.0
    figure = f"{100 * share:.1f} % of the face width a frame (95th percentile)"
    if share > 0.06:
        return Check("head motion", "notice", figure, "Fast motion blurs the mouth: move calmly.")
    return Check("head motion", "ok", figure)


def _check_sharpness(samples: Samples) -> Check:
    value = float(np.median(samples.sharpness))
    figure = f"{value:.3f} of the contrast is fine detail"
    if value < 0.06:
        return Check("sharpness", "notice", figure, "The face is blurred: check focus and compression.")
    return Check("sharpness", "ok", figure)


def _check_light(samples: Samples) -> Check:
    mean, bright, dark = np.median(samples.light, axis=0)
    change = float(np.ptp(np.percentile(samples.light[:, 0], [5, 95])))
    figure = (
        f"face level {mean:.0f} of 255, {100 * bright:.1f} % burnt out, {100 * dark:.1f} % black, "
        f"changes by {change:.0f}"
    )
    if mean < 50 or bright > 0.05 or dark > 0.3:
        return Check("light", "notice", figure, "Light the face evenly, neither dark nor burnt out.")
    if change > 40:
        return Check("light", "notice", figure, "The light changes: switch automatic exposure off.")
    return Check("light", "ok", figure)


def _check_sound(info: VideoInfo) -> list[Check]:
    if not info.has_audio:
        return [Check("sound", "error", "no audio stream", "The video needs its own sound: export it with audio.")]
    audio = read_audio(info.path)
    mono = to_mono_16k(audio)
    level_db = compute_level_db(measure_power([mono]))
    loud = float(np.percentile(level_db, 95))
    clipped = float((np.abs(audio.samples) >= 0.999).mean())
    silent = float(find_silence(mono, frame_count_for(audio, info.fps), info.fps).mean())
    checks = [Check("sound", "ok", f"{audio.rate} Hz, {audio.samples.shape[1]} channels")]
    figure = f"loud parts at {loud:.0f} dB, {100 * clipped:.2f} % clipped"
    if loud < -50:
        checks.append(Check("sound level", "notice", figure, "The recording is almost silent: check the microphone."))
    elif clipped > 0.001:
        checks.append(Check("sound level", "notice", figure, "The recording is clipped: lower the gain."))
    else:
        checks.append(Check("sound level", "ok", figure))
    advice = "More than half is silent: cut the pauses out." if silent > 0.5 else ""
    checks.append(Check("silence", "notice" if silent > 0.5 else "ok", f"{100 * silent:.0f} % of the frames", advice))
    return [*checks, _check_lengths(len(mono) / FEATURE_RATE, info.duration_s)]


def _check_lengths(sound_s: float, picture_s: float) -> Check:
    """Compare the lengths of sound and picture; the sound is cut, or its missing end is silence."""
    gap = sound_s - picture_s
    figure = f"sound {'longer' if gap > 0 else 'shorter'} than the picture by {abs(gap):.3f} s"
    if sound_s < LEAST_SOUND * picture_s:
        return Check("sound and picture", "error", figure, "Most of the picture has no sound: export the video again.")
    if gap < -LARGEST_GAP_S:
        advice = "The missing end counts as silence: cut the picture there, and check that lips and sound agree."
        return Check("sound and picture", "notice", figure, advice)
    if gap > LARGEST_GAP_S:
        advice = "What is left over is cut: check that lips and sound agree at the end."
        return Check("sound and picture", "notice", figure, advice)
    return Check("sound and picture", "ok", figure)
