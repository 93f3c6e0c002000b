from .appearance import fit_appearance
from .face_clip import FaceClip, open_clip, video_reader
from .fit_quality import check_fit, measure_contours, measure_fit, photometric_error
from .fit_video import ReconstructionSettings, fine_tune, fit_shape, place_points, reconstruct
from .landmark_fit import predicted_landmarks
from .lip_curves import compare_lips, compute_lip_curves

__all__ = [
    "FaceClip",
    "ReconstructionSettings",
    "check_fit",
    "compare_lips",
    "compute_lip_curves",
    "fine_tune",
    "fit_appearance",
    "fit_shape",
    "measure_contours",
    "measure_fit",
    "open_clip",
    "photometric_error",
    "place_points",
    "predicted_landmarks",
    "reconstruct",
    "video_reader",
]
