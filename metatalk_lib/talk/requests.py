"""What is asked of `metatalk talk`, looked at before anything is spoken."""

from collections.abc import Sequence
from pathlib import Path

from metatalk_lib.core.errors import DataError, MetaTalkError, ParameterError
from metatalk_lib.media.audio import open_audio
from metatalk_lib.media.recordings import list_recordings
from metatalk_lib.media.video_writer import check_sound


def name_outputs(recordings: Sequence[Path], output: Path) -> list[Path]:
    """Where the video of each recording goes: `output` itself if it ends in .mp4, else `<output>/<recording>.mp4`.

    Raises:
        ParameterError: several recordings but a file to write, or two that would give one name.
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
    """The recordings, and for each folder those in it, without what an earlier run wrote into an output folder there.

    Raises:
        DataError: a folder holds no recording.
    """
    found, target = [], output.resolve()
    for path in paths:
        inside = list_recordings(path) if path.is_dir() else [path]
        has_output = path.resolve() in target.parents
        found += [each for each in inside if not (has_output and target in each.resolve().parents)]
    return found


def check_recordings(recordings: Sequence[Path]) -> None:
    """Look through all recordings, so that a bad one is known before the first is spoken.

    Raises:
        DataError: recordings cannot be used; the message holds them all.
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
    """What can be told from the paths alone.

    Raises:
        ParameterError: the output is no .mp4, or a file that is read.
        DataError: the recording is not there.
    """
    if output.suffix != ".mp4":
        raise ParameterError(f"the output {output} must end in .mp4.")
    if not audio_path.is_file():
        raise DataError(f"the recording {audio_path} does not exist. Check the path.")
    for path in (audio_path, source):
        if path is not None and output.resolve() == path.resolve():
            raise ParameterError(f"{output} is read by this run and would be overwritten. Choose another output.")
