"""The test phase: recording → expressions → synthetic lower faces → painted faces → blended into the source → video.

Everything streams, so memory does not grow with the length of the recording. If the recording is longer than the
source, the source plays forwards and backwards, without repeated frames at the turns and without jumps. The video is
written in parts of two seconds next to the output; a restarted run resumes after the last complete part.
"""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple, TypeVar, cast

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8

from metatalk_lib.audio_to_expression.model import load_a2e
from metatalk_lib.audio_to_expression.streaming import stream_speech
from metatalk_lib.core.artifacts import sha256_file
from metatalk_lib.core.code_fingerprint import fingerprint_modules
from metatalk_lib.core.errors import DataError
from metatalk_lib.core.parallel import CORES, draw_ahead, read_ahead
from metatalk_lib.core.progress import track
from metatalk_lib.core.timing import Clock
from metatalk_lib.face3d.coefficients import Coefficients, repose
from metatalk_lib.face3d.face_model import load_face_model
from metatalk_lib.face3d.face_renderer import lower_silhouette
from metatalk_lib.media.audio import Recording, frame_count_for, open_audio
from metatalk_lib.media.frame_order import batched, neighbourhoods, ping_pong, read_in_order
from metatalk_lib.media.video_writer import check_crf, check_sound, join_videos, open_video_writer
from metatalk_lib.neural_renderer.compositing import limit_mask, sew
from metatalk_lib.neural_renderer.conditioning import Condition, stack_conditions, stack_window
from metatalk_lib.neural_renderer.drawing import DrawnFrame, draw_frame
from metatalk_lib.neural_renderer.generator import load_renderer, reduce_renderer
from metatalk_lib.neural_renderer.reference_bank import BANK_FILES, Reference, ReferenceFollower, describe_mouths
from metatalk_lib.talk.character import load_character
from metatalk_lib.talk.requests import check_talk
from metatalk_lib.talk.resumable_video import open_parts

PART_S = 2
"""Length of the parts in which the video is written, s; each takes seconds, at most a minute on a slow machine."""
PREVIEW_REDUCTION = 2
"""Factor by which a preview is smaller than the full size."""
ACCELERATOR_BATCH = 8
"""Frames that an accelerator paints in one batch; batches do not speed up a CPU."""
DRAWING_THREADS = max(1, min(8, CORES // 2))

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class TalkReport:
    """Report on a finished video.

    Attributes:
        output: path of the video.
        frame_count, fps: number of frames and frame rate of the video, Hz.
        audio_s, video_s: lengths of sound and picture, s; they differ by less than a frame.
        silent_frames: number of silent frames, in which the mouth is closed; a resumed run counts only its own.
        reversed_frames: number of frames during which the source plays backwards.
        resumed_frames: number of frames that an earlier run had finished.
        changed_outside_px: number of pixels outside the mask that differ from the source before encoding, in the frames
            that this run made; always 0.
        seconds: time spent on each part of the work, s; parts overlap, so `total` is less than their sum.
    """

    output: Path
    frame_count: int
    fps: Fraction
    audio_s: float
    video_s: float
    silent_frames: int
    reversed_frames: int
    resumed_frames: int
    changed_outside_px: int
    seconds: dict[str, float]

    def describe(self) -> str:
        """Summarise the report in one line for the user."""
        total, first = self.seconds["total"], self.seconds.get("first frame", 0.0)
        made = self.frame_count - self.resumed_frames
        text = f"{self.output}: {self.video_s:.2f} s, {made} frames in {total:.1f} s ({made / total:.1f} frames/s)"
        return (
            f"{text}, the first after {first:.1f} s; silent in {self.silent_frames} frames, "
            f"{self.changed_outside_px} px changed outside the mask"
        )


class Talker:
    """A character with its networks loaded, which can speak any number of recordings.

    Args:
        character_dir: folder `outputs/<character>` with stages 01, 03, 04 and 05.
        a2e_dir: folder of the A2E network, if not the character's.
        renderer_dir: folder of the neural renderer, if not the character's.
        device: device of the neural renderer; CPU by default.

    Raises:
        DataError: a stage's file is missing or does not fit.
    """

    def __init__(
        self,
        character_dir: Path,
        *,
        a2e_dir: Path | None = None,
        renderer_dir: Path | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.character = load_character(character_dir)
        self.model = load_face_model(self.character.coefficients.face_model)
        self.a2e_dir = a2e_dir or character_dir / "04_audio_to_expression"
        self.renderer_dir = renderer_dir or character_dir / "05_neural_renderer"
        self.a2e = load_a2e(self.a2e_dir)
        self.renderer = load_renderer(self.renderer_dir, self.model, device)
        self.threads = torch.get_num_threads()
        self.batch = ACCELERATOR_BATCH if device is not None and device.type != "cpu" else 1
        trained, made = self.renderer.settings.size, self.character.transform.size
        if trained != made:
            raise DataError(
                f"the neural renderer was trained on a {trained} px crop, 01_crop made {made} px. "
                "Run 05_neural_renderer again."
            )

    def speak(
        self, audio_path: Path, output: Path, *, start_frame: int = 0, preview: bool = False, crf: int | None = None
    ) -> TalkReport:
        """Make the person speak a recording; parts or videos already made from the same inputs are kept.

        Args:
            audio_path: any recording that can be decoded.
            output: .mp4 file to write, in the codec family, size and rate of the source; it appears when complete.
            start_frame: source frame shown first.
            preview: paint and write at half the size, for a quick look.
            crf: constant rate factor of the encoder, lower is better quality; None is visually lossless.

        Raises:
            ParameterError: `start_frame` is not in the source, `output` is not .mp4 or is an input, or the
                encoder does not support `crf`.
            DataError: the recording cannot be used, or a file cannot be written.

        Source: paper section 2 (test phase), Fig. 1.
        """
        self.character.check_start(start_frame)
        check_talk(audio_path, output, self.character.source)
        check_crf(self.character.codec, crf)
        clock, fps = Clock(), self.character.fps
        with clock.part("open"):
            audio = open_audio(audio_path)
            check_sound(audio)
            count = frame_count_for(audio, fps)
            order = ping_pong(start_frame, self.character.frame_count, count)
            description = self._describe(audio_path, start_frame, preview, crf)
        with open_parts(output, description, count, round(PART_S * fps)) as parts:
            left = parts.lengths[parts.finished :]
            first = count - sum(left)
            job = _Job(self, audio, order, first, preview, clock)
            made = track(job.frames(left), f"talking: {output.name}", total=sum(left))
            with closing(read_ahead(made, depth=2)) as frames:
                for path, length in zip(parts.paths[parts.finished :], left, strict=True):
                    with open_video_writer(path, fps=fps, codec=self.character.codec, crf=crf) as writer:
                        for frame in itertools.islice(frames, length):
                            with clock.part("encode"):
                                writer.add(frame)
            if not parts.is_joined:
                with clock.part("join"):
                    join_videos(output, parts.paths, fps=fps, audio=audio, comment=parts.digest)
        return TalkReport(
            output=output,
            frame_count=count,
            fps=fps,
            audio_s=audio.duration_s,
            video_s=float(count / fps),
            silent_frames=job.silent_frames,
            reversed_frames=int((np.diff(order) < 0).sum()),
            resumed_frames=first,
            changed_outside_px=job.changed_outside_px,
            seconds=clock.seconds(),
        )

    @cached_property
    def _source_digest(self) -> str:
        return sha256_file(self.character.source)

    def _describe(self, audio_path: Path, start_frame: int, preview: bool, crf: int | None) -> dict:
        """Describe all inputs of a video; results of an interrupted run are reused only if their inputs are equal."""
        renderer = ["generator.safetensors", "renderer.json"] + [
            name for name in BANK_FILES if self.renderer.bank is not None
        ]
        files = [audio_path, *(self.a2e_dir / name for name in ("a2e.safetensors", "a2e.json"))]
        files += [self.renderer_dir / name for name in renderer]
        character = self.character
        return {
            "source": self._source_digest,
            "clip": [str(character.fps), character.frame_count, character.codec, asdict(character.transform)],
            "coefficients": hashlib.sha256(character.coefficients.pack().tobytes()).hexdigest(),
            "files": [sha256_file(path) for path in files],
            "code": fingerprint_modules(__name__),
            "device": next(self.renderer.network.parameters()).device.type,
            "threads": self.threads,
            "versions": [version(name) for name in ("torch", "av", "numpy", "opencv-python-headless")],
            "start_frame": start_frame,
            "preview": preview,
            "crf": crf,
        }


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
    """Load a character and make it speak one recording; arguments and errors are those of `Talker` and `speak`."""
    talker = Talker(character_dir, a2e_dir=a2e_dir, renderer_dir=renderer_dir, device=device)
    return talker.speak(audio_path, output, start_frame=start_frame)


class _Prepared(NamedTuple):
    """One frame before it is painted.

    Attributes:
        source: frame of the source video.
        crop: the renderer's rectangle of the cropped frame.
        drawn: rendered input in this rectangle.
        mask: part of `drawn.mask` that is laid over the source.
    """

    source: UInt8[np.ndarray, "H W 3"]
    crop: UInt8[np.ndarray, "h w 3"]
    drawn: DrawnFrame
    mask: Bool[np.ndarray, "h w"]


class _Driven(NamedTuple):
    """One frame before it is drawn.

    Attributes:
        coefficients, row: the driven face, a row of a block's coefficients.
        own: expression of the source frame.
        references: references to warp to the driven face.
    """

    coefficients: Coefficients
    row: int
    own: Float[np.ndarray, "64"]
    references: list[Reference]


class _Job:
    """One recording in progress: the stream of finished frames, and the counts for the report."""

    def __init__(
        self,
        talker: Talker,
        audio: Recording,
        order: Int[np.ndarray, " T"],
        first: int,
        preview: bool,
        clock: Clock,
    ) -> None:
        self.talker, self.audio, self.order, self.first, self.clock = talker, audio, order, first, clock
        self.renderer, self.transform = talker.renderer, talker.character.transform
        self.reduction = PREVIEW_REDUCTION if preview else 1
        if preview:
            self.renderer = reduce_renderer(talker.renderer, talker.model, PREVIEW_REDUCTION)
            self.transform = replace(self.transform, size=self.renderer.settings.size)
        self.silent_frames = self.changed_outside_px = 0

    def frames(self, lengths: Sequence[int]) -> Iterator[UInt8[np.ndarray, "H W 3"]]:
        """Yield the finished frames from `first` on; a batch never spans two parts, which have these lengths."""
        torch.set_num_threads(self.talker.threads)
        roi = self.renderer.settings.roi
        prepared = self._prepared()
        groups = (batched(itertools.islice(prepared, length), self.talker.batch) for length in lengths)
        for group in itertools.chain.from_iterable(groups):
            with self.clock.part("paint"):
                paints = self.renderer.paint(stack_conditions([self._condition(neighbours) for neighbours in group]))
            for neighbours, paint in zip(group, paints, strict=True):
                with self.clock.part("sew"):
                    centre = cast(_Prepared, neighbours[len(neighbours) // 2])
                    sewn = sew(centre.source, paint, centre.mask, self.transform, roi)
                    self.changed_outside_px += sewn.count_changed_outside(centre.source)
                self.clock.mark("first frame")
                yield sewn.image if self.reduction == 1 else reduce_frame(sewn.image, self.reduction)

    def _condition(self, neighbours: list[_Prepared | None]) -> Condition:
        _, crop, drawn, _ = cast(_Prepared, neighbours[len(neighbours) // 2])
        window, known = stack_window([None if each is None else each.drawn.image for each in neighbours])
        return Condition(window[None], known[None], crop[None], drawn.mask[None], drawn.references[None])

    def _prepared(self) -> Iterator[list[_Prepared | None]]:
        """Yield for each frame from `first` on the prepared frame with its neighbours in the renderer's window."""
        window = self.renderer.settings.window
        begin = max(0, self.first - window // 2)
        sources = self.clock.timed("decode", read_in_order(self.talker.character.source, self.order[begin:]))
        jobs = zip(read_ahead(sources, depth=4), itertools.islice(self._driven(), begin, None), strict=True)
        prepared = draw_ahead(self._prepare, jobs, DRAWING_THREADS)
        return itertools.islice(neighbourhoods(prepared, window), self.first - begin, None)

    def _prepare(self, job: tuple[np.ndarray, _Driven]) -> _Prepared:
        model, settings = self.talker.model, self.renderer.settings
        source, (coefficients, index, own, chosen) = job
        with self.clock.part("draw"):
            crop = np.ascontiguousarray(settings.roi.cut(self.transform.crop_image(source)))
            fitted = crop if settings.fits_surroundings else None
            where = (model, coefficients, index, settings.size)
            drawn = draw_frame(*where, settings.roi, self.renderer.bank, chosen, fitted)
            face = lower_silhouette(*where, own, window=(*settings.roi,)) | drawn.image.any(axis=2)
        return _Prepared(source, crop, drawn, limit_mask(drawn.mask, face, settings.size))

    def _driven(self) -> Iterator[_Driven]:
        """Yield every frame."""
        bank, count = self.renderer.bank, self.renderer.settings.references
        follower = ReferenceFollower(bank, count) if bank is not None else None
        spoken = stream_speech(self.audio, self.talker.character.fps, self.talker.a2e)
        done = 0
        for block in self.clock.timed("audio to expression", spoken):
            frames = self.order[done : done + len(block.expression)]
            driven = repose(self.talker.character.coefficients, frames, block.expression)
            own = self.talker.character.coefficients.take(frames)["expression"]
            self.silent_frames += int(block.silent[max(0, self.first - done) :].sum())
            done += len(frames)
            wanted = describe_mouths(self.talker.model, driven)
            for index in range(len(frames)):
                chosen = follower.choose(wanted[index]) if follower else []
                yield _Driven(driven, index, own[index], chosen)


def reduce_frame(image: UInt8[np.ndarray, "H W 3"], reduction: int) -> UInt8[np.ndarray, "h w 3"]:
    """Reduce a picture by an integer factor, with even sides, which every player supports."""
    height, width = (max(2, side // reduction // 2 * 2) for side in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
