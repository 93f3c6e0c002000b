"""Clips of real people: mouth opening predicted from the sound against the filmed one."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from benchmarks.lip_speaker import FPS, face, opening_of, speak, to_expression, trained
from benchmarks.report import Row
from metatalk_lib.audio_to_expression.model import TrainedA2E
from metatalk_lib.core.errors import DataError
from metatalk_lib.media.audio import Audio, read_audio, to_mono_16k
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.metrics.correlation import correlation
from metatalk_lib.metrics.mouth_opening_sync import compute_sync
from metatalk_lib.pseudo_video.lip_lead import Lead, measure_lead
from metatalk_lib.speech.corpus import plan_utterances
from metatalk_lib.speech.phoneme_recognition import recognise_phonemes
from metatalk_lib.speech.visemes import INERTIA_S, viseme_curves
from metatalk_lib.tracking.face_tracker import track_landmarks
from metatalk_lib.tracking.landmarks import relative_mouth_opening

CLIPS = ("speaker_512.mp4", "speaker_1080p.mp4")
SHIFTS = 200
FAST_HZ = 3.0


class Clip(NamedTuple):
    """A real person's clip: sound, mouth opening over the distance of the eyes, and the lead of its lips."""

    name: str
    sound: Audio
    opening: Float[np.ndarray, " T"]
    lead: Lead


def load_clip(path: Path) -> Clip:
    """Track the mouth of a clip and measure its lead."""
    info = probe_video(path)
    if info.fps != FPS:
        raise DataError(f"{path} has {info.fps} frames a second; this benchmark compares curves at {FPS}.")
    track = track_landmarks(
        read_frames(path), frame_count=info.frame_count, fps=info.fps, face_position="largest", name=path
    )
    lead = measure_lead(face(), path, track.landmarks, info.fps, valid=track.detected)
    return Clip(path.stem, read_audio(path), relative_mouth_opening(track.landmarks), lead)


def real_rows(folder: Path) -> list[Row]:
    """Measure both clips with their own sound, the lead calibrated on the other one; every clip is reported."""
    clips = [load_clip(folder / name) for name in CLIPS]
    rows, values = [], []
    for clip, other in (clips, clips[::-1]):
        a2e = trained(FPS, other.lead.lead_s)
        produced = speak(clip.sound, a2e).opening[: len(clip.opening)]
        values.append(correlation(produced, clip.opening))
        chance = shifted_correlations(clip, a2e)
        silent = speak(Audio(np.zeros_like(clip.sound.samples), clip.sound.rate), a2e).opening
        bar, best = float(np.percentile(chance[1:], 95)), compute_sync(clip.opening, produced).best_correlation
        name = f"real {clip.name}"
        rows += [
            Row(f"{name}: r at zero lag, above 95 % of shifts", values[-1], "", ">=", bar),
            Row(f"{name}: r, audio turned round by half (cheat)", chance[0], "", ">=", 0.35, is_cheat=True),
            Row(
                f"{name}: opening's deviation, silent over spoken", float(silent.std() / produced.std()), "", "<=", 0.05
            ),
            Row(f"{name}: lead used, of the other clip", other.lead.lead_s, "s", None, None),
            Row(f"{name}: its own lead", clip.lead.lead_s, "s", None, None),
            Row(f"{name}: r at its best lag", best, "", None, None),
            Row(f"{name}: the recogniser and the teacher, r", teacher_correlation(clip, other.lead), "", None, None),
            Row(f"{name}: seen opening's variance above {FAST_HZ:g} Hz", fast_share(clip.opening), "", None, None),
            Row(f"{name}: produced opening's variance above {FAST_HZ:g} Hz", fast_share(produced), "", None, None),
        ]
    return [Row("real clips: mean r at zero lag", float(np.mean(values)), "", ">=", 0.35), *rows, *teacher_rows()]


def teacher_rows() -> list[Row]:
    """Measure the speed of the viseme teacher's mouth in a minute of sentences, for comparison with the filmed ones."""
    utterances, rows = plan_utterances(60.0, 0, FPS), []
    for name, inertia_s in (("", INERTIA_S), (" without inertia", 0.0)):
        taught = [viseme_curves(u.speech.phonemes, u.frame_count, FPS, inertia_s=inertia_s) for u in utterances]
        share = fast_share(opening_of(to_expression(np.concatenate(taught))))
        rows.append(Row(f"viseme teacher{name}: opening's variance above {FAST_HZ:g} Hz", share, "", None, None))
    return rows


def fast_share(opening: Float[np.ndarray, " T"]) -> float:
    """Share of an opening's variance that lies above `FAST_HZ`."""
    power = np.abs(np.fft.rfft(opening - opening.mean())) ** 2
    return float(power[np.fft.rfftfreq(len(opening), 1 / float(FPS)) > FAST_HZ].sum() / power.sum())


def shifted_correlations(clip: Clip, a2e: TrainedA2E) -> np.ndarray:
    """r for circular shifts of the sound: by half the clip first, then 200 evenly spread ones of at least a second."""
    count, rate = len(clip.sound.samples), clip.sound.rate
    shifts = [count // 2, *np.linspace(rate, count - rate, SHIFTS).astype(int)]
    values = []
    for shift in shifts:
        turned = Audio(np.roll(clip.sound.samples, shift, axis=0), rate)
        values.append(correlation(speak(turned, a2e).opening[: len(clip.opening)], clip.opening))
    return np.array(values)


def teacher_correlation(clip: Clip, lead: Lead) -> float:
    """Measure the viseme teacher's own correlation on the clip, with recognised phonemes."""
    phonemes = recognise_phonemes(to_mono_16k(clip.sound))
    taught = opening_of(to_expression(viseme_curves(phonemes, len(clip.opening), FPS, lead_s=lead.lead_s)))
    return correlation(taught, clip.opening)
