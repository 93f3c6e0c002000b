from .driving_audio import prepare_driving_audio
from .talker import talk

__all__ = ["prepare_driving_audio", "talk"]
