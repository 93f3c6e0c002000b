from .audio import read_audio, write_audio
from .recordings import cut_audio, end_with_picture
from .video import probe_video, read_frames, read_selected_frames

__all__ = [
    "cut_audio",
    "end_with_picture",
    "probe_video",
    "read_audio",
    "read_frames",
    "read_selected_frames",
    "write_audio",
]
