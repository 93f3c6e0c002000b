"""Which files of a folder are recordings."""

from pathlib import Path

from metatalk_lib.errors import DataError

SOUND_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aif", ".aiff")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


def list_recordings(folder: Path) -> list[Path]:
    """Sounds and videos in a folder and its subfolders, in order; where both have one name, the sound.

    Raises:
        DataError: the folder does not exist, or holds none.
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
