"""LSE (open) on the seven characters and on real clips, unseen by its network; and the weaker loudness measure."""

import itertools
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.metrics import roc_auc_score

from benchmarks.report import Row
from metatalk_lib.evaluation.controls import (
    GROUND_TRUTH,
    compute_sync_controls,
    find_control_failures,
    find_lse_failures,
)
from metatalk_lib.evaluation.face_measures import follow_face
from metatalk_lib.evaluation.image_measures import ENVELOPE_VERDICT_SECONDS
from metatalk_lib.evaluation.lse_judge import LipSyncJudge, embed_video, score_controls
from metatalk_lib.media.audio import read_audio, to_mono_16k
from metatalk_lib.media.video import probe_video, read_frames
from metatalk_lib.media.video_writer import write_video
from metatalk_lib.metrics.lse import SYNCNET_FPS, EmbeddedClip, score_clip
from metatalk_lib.metrics.mouth_opening_sync import compute_speech_envelope
from metatalk_lib.studio.render_video import ensure_studio_video
from metatalk_lib.tracking.landmarks import mouth_opening

STUDIO_SECONDS = 10
CLIP_FRAMES = 4 * SYNCNET_FPS
"""Length of a judged clip; the published recipe asks for more than four seconds."""
SHIFTS = tuple(shift for shift in range(-10, 11) if shift)
AUC, FOUND = 0.95, 0.90


class JudgedClip(NamedTuple):
    """A piece of a video."""

    source: str
    clip: EmbeddedClip


def cut_clips(judge: LipSyncJudge, path: Path, name: str) -> list[JudgedClip]:
    """Pieces of `CLIP_FRAMES`, side by side, of a video with its own sound."""
    (whole,) = embed_video(judge, path)
    starts = range(0, len(whole.seen) - CLIP_FRAMES + 1, CLIP_FRAMES)
    return [
        JudgedClip(name, EmbeddedClip(whole.seen[a : a + CLIP_FRAMES], whole.heard[a : a + CLIP_FRAMES]))
        for a in starts
    ]


def separation(clips: list[JudgedClip], label: str, *, judged: bool) -> list[Row]:
    """ROC AUC of true sound against other clips' sound, and of no sound at all against itself."""
    true = [score_clip(item.clip) for item in clips]
    others = [
        score_clip(EmbeddedClip(seen.clip.seen, heard.clip.heard)) for seen, heard in itertools.permutations(clips, 2)
    ]
    labels = [1] * len(true) + [0] * len(others)
    confidence = roc_auc_score(labels, [score.confidence for score in true + others])
    distance = roc_auc_score(labels, [-score.distance for score in true + others])
    still = [EmbeddedClip(item.clip.seen[:1].expand_as(item.clip.seen), item.clip.heard) for item in clips]
    swapped = [EmbeddedClip(a.seen, b.heard) for a, b in zip(still, [*still[1:], still[0]], strict=True)]
    cheat = [score_clip(clip).confidence for clip in still + swapped]
    cheat_auc = roc_auc_score([1] * len(still) + [0] * len(swapped), cheat)
    op = ">=" if judged else None
    return [
        Row(f"{label}: true against shuffled sound, ROC AUC of LSE-C (open)", confidence, "", op, AUC),
        Row(f"{label}: the same of LSE-D (open)", distance, "", op, AUC),
        Row(f"{label}: the same with a still face (cheat)", cheat_auc, "", op, AUC, is_cheat=True),
        Row(f"{label}: clips of {CLIP_FRAMES / SYNCNET_FPS:.0f} s", len(clips), "", None, None),
    ]


def shifts_found(clips: list[JudgedClip], label: str, *, judged: bool) -> list[Row]:
    """Share of known shifts that are found within one frame, and of a still face's."""

    def share(pieces: list[EmbeddedClip]) -> float:
        misses = [abs(score_clip(piece.shifted(shift)).offset + shift) for piece in pieces for shift in SHIFTS]
        return float(np.mean(np.array(misses) <= 1))

    still = [EmbeddedClip(item.clip.seen[:1].expand_as(item.clip.seen), item.clip.heard) for item in clips]
    op = ">=" if judged else None
    return [
        Row(f"{label}: shifts of 1 to 10 frames found within one", share([item.clip for item in clips]), "", op, FOUND),
        Row(f"{label}: the same with a still face (cheat)", share(still), "", op, FOUND, is_cheat=True),
    ]


def studio_rows(judge: LipSyncJudge, names: str) -> list[Row]:
    """All characters together, and whether each one's controls are in order."""
    clips, rows = [], []
    for name in names:
        path = ensure_studio_video(name, STUDIO_SECONDS)
        clips += cut_clips(judge, path, name)
        controls = score_controls(judge, embed_video(judge, path))
        failures = find_lse_failures(controls)
        truth = controls[GROUND_TRUTH]
        print(
            f"{name}: LSE-D (open) {truth.distance:.2f}, LSE-C (open) {truth.confidence:.2f}; {failures or 'in order'}"
        )
        rows.append(Row(f"{name}: LSE controls in the wrong order", len(failures), "", "<=", 0))
        rows += envelope_rows(path, name)
    label = "A to G, own voices"
    return [*rows, *separation(clips, label, judged=True), *shifts_found(clips, label, judged=True)]


def envelope_rows(path: Path, name: str) -> list[Row]:
    """Whether the loudness tells the true opening from its controls over ten seconds."""
    info = probe_video(path)
    envelope = compute_speech_envelope(to_mono_16k(read_audio(path)), info.frame_count, info.fps)
    with tempfile.TemporaryDirectory() as folder:
        again = Path(folder) / "again.mp4"
        write_video(again, read_frames(path), fps=info.fps)
        openings = [
            mouth_opening(follow_face(frames, frame_count=info.frame_count, fps=info.fps, name=path).landmarks)
            for frames in (read_frames(path), read_frames(again))
        ]
    static = np.full(info.frame_count, openings[0][0])
    controls = compute_sync_controls(openings[0], envelope, reencoded_opening=openings[1], static_opening=static)
    failures = find_control_failures(controls, min_frames=round(ENVELOPE_VERDICT_SECONDS * info.fps))
    return [
        Row(f"{name}: envelope controls in the wrong order {failures}", len(failures), "", "<=", 0),
        Row(f"{name}: envelope r of the truth", controls[GROUND_TRUTH].correlation, "", None, None),
    ]


def real_rows(judge: LipSyncJudge, folder: Path) -> list[Row]:
    """Real clips: reported, not judged, since the network has seen studio people only."""
    clips = [clip for path in sorted(folder.glob("*.mp4")) for clip in cut_clips(judge, path, path.stem)]
    if len(clips) < 3:
        print(f"real clips: {folder} holds too few; name a folder with --clips")
        return []
    return [*separation(clips, "real clips", judged=False), *shifts_found(clips, "real clips", judged=False)]
