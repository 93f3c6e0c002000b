from .appearance import fit_appearance
from .fit_quality import measure_fit, photometric_error
from .fit_video import FaceClip, ReconstructionSettings, fine_tune, fit_shape, place_points, reconstruct, video_reader
from .landmark_fit import predicted_landmarks
from .lip_curves import compare_lips, compute_lip_curves

__all__ = [
    "FaceClip",
    "ReconstructionSettings",
    "compare_lips",
    "compute_lip_curves",
    "fine_tune",
    "fit_appearance",
    "fit_shape",
    "measure_fit",
    "photometric_error",
    "place_points",
    "predicted_landmarks",
    "reconstruct",
    "video_reader",
]
