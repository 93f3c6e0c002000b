"""Recordings in a folder, and stretches cut from one."""

from fractions import Fraction
from pathlib import Path

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.media.audio import Audio, fit_length, read_audio, write_audio

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def list_recordings(folder: Path) -> list[Path]:
    """List sounds and videos in a folder and its subfolders, in order; of a sound and a video of one name, the sound.

    Raises:
        DataError: the folder does not exist or contains no recording.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}, where recordings are looked for, is no folder. Check the path.")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    sounds = [path for path in files if path.suffix.lower() in SOUND_SUFFIXES]
    taken = {path.with_suffix("") for path in sounds}
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES and path.with_suffix("") not in taken]
    if not sounds and not videos:
        suffixes = ", ".join((*SOUND_SUFFIXES, *VIDEO_SUFFIXES))
        raise DataError(f"the folder {folder} holds no recording ({suffixes}). Check the path.")
    return sorted([*sounds, *videos])


def cut_audio(
    audio_path: Path, start_s: Fraction | float, output: Path, *, length_s: Fraction | float | None = None
) -> Path:
    """Write the part of a recording from `start_s` seconds on as WAV, at its own sampling rate.

    Args:
        audio_path: the recording.
        start_s: start of the part, s.
        output: file to write.
        length_s: maximum length of the part, s; None takes the rest of the recording.

    Returns:
        `output`.

    Raises:
        ParameterError: nothing is left.
    """
    audio = read_audio(audio_path)
    stop = None if length_s is None else round((start_s + length_s) * audio.rate)
    samples = audio.samples[round(start_s * audio.rate) : stop]
    if not len(samples):
        raise ParameterError(f"{audio_path} ends before {float(start_s):.2f} s. Choose an earlier start.")
    write_audio(output, Audio(samples, audio.rate))
    return output


def end_with_picture(audio: Audio, frame_count: int, fps: Fraction) -> Audio:
    """Return a video's sound as long as its picture: what is left over is cut, a missing end is silence.

    Args:
        audio: the sound, from the first frame on.
        frame_count: number of frames of the picture.
        fps: frame rate, Hz.
    """
    return Audio(fit_length(audio.samples, round(frame_count * audio.rate / Fraction(fps))), audio.rate)
