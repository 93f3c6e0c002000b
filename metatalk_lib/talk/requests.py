"""Validation of the arguments of `metatalk talk` before anything is spoken."""

from collections.abc import Sequence
from pathlib import Path

from metatalk_lib.core.errors import DataError, MetaTalkError, ParameterError
from metatalk_lib.media.audio import open_audio
from metatalk_lib.media.recordings import list_recordings
from metatalk_lib.media.video_writer import check_sound


def name_outputs(recordings: Sequence[Path], output: Path) -> list[Path]:
    """Name the video of each recording: `output` itself if it ends in .mp4, else `<output>/<recording>.mp4`.

    Raises:
        ParameterError: several recordings with a file as output, or two recordings with the same name.
    """
    is_folder = output.is_dir() or not output.suffix
    if len(recordings) == 1 and not is_folder:
        return [output]
    videos = [output / f"{recording.stem}.mp4" for recording in recordings]
    if not output.is_dir() and (output.suffix == ".mp4" or output.is_file()):
        raise ParameterError(f"{len(recordings)} recordings need a folder as output, {output} names a file.")
    if len(set(videos)) < len(videos):
        double = next(video for video in videos if videos.count(video) > 1)
        raise ParameterError(f"two recordings would both become {double}. Rename one, or run twice.")
    return videos


def gather_recordings(paths: Sequence[Path], output: Path) -> list[Path]:
    """Expand folders to the recordings in them, except videos of an earlier run in an output folder there.

    Raises:
        DataError: a folder contains no recording.
    """
    found, target = [], output.resolve()
    for path in paths:
        inside = list_recordings(path) if path.is_dir() else [path]
        has_output = path.resolve() in target.parents
        found += [each for each in inside if not (has_output and target in each.resolve().parents)]
    return found


def check_recordings(recordings: Sequence[Path]) -> None:
    """Check all recordings, so that an unusable one is reported before the first is spoken.

    Raises:
        DataError: some recordings are unusable; the message lists them all.
    """
    bad = []
    for recording in recordings:
        try:
            check_sound(open_audio(recording))
        except MetaTalkError as error:
            bad.append(f"{error}" if str(recording) in str(error) else f"{recording}: {error}")
    if bad:
        raise DataError(" ".join(bad))


def check_talk(audio_path: Path, output: Path, source: Path | None = None) -> None:
    """Check what can be checked from the paths alone.

    Raises:
        ParameterError: the output does not end in .mp4, or is one of the inputs.
        DataError: the recording does not exist.
    """
    if output.suffix != ".mp4":
        raise ParameterError(f"the output {output} must end in .mp4.")
    if not audio_path.is_file():
        raise DataError(f"the recording {audio_path} does not exist. Check the path.")
    for path in (audio_path, source):
        if path is not None and output.resolve() == path.resolve():
            raise ParameterError(f"{output} is read by this run and would be overwritten. Choose another output.")
