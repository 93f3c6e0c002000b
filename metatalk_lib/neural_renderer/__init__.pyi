from .lower_face_region import find_roi
from .sampling import TrainingSettings
from .training import check_devices

__all__ = ["TrainingSettings", "check_devices", "find_roi"]
