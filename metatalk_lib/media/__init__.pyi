from .audio import read_audio, write_audio
from .recordings import cut_audio
from .video import probe_video, read_frames, read_selected_frames

__all__ = ["cut_audio", "probe_video", "read_audio", "read_frames", "read_selected_frames", "write_audio"]
