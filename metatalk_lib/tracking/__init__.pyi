from .crop import (
    CropTransform,
    check_held_out,
    choose_crop,
    describe_crop,
    held_out_start,
    load_crop,
    make_contact_sheet,
    measure_crop,
    save_crop,
    save_image,
    write_face_videos,
)
from .face_tracker import track_landmarks
from .frame_sampler import FrameSampler
from .landmark_predictor import load_landmark_predictor
from .landmarks import LandmarkTrack, mouth_opening
from .preflight import run_preflight

__all__ = [
    "CropTransform",
    "FrameSampler",
    "LandmarkTrack",
    "check_held_out",
    "choose_crop",
    "describe_crop",
    "held_out_start",
    "load_crop",
    "load_landmark_predictor",
    "make_contact_sheet",
    "measure_crop",
    "mouth_opening",
    "run_preflight",
    "save_crop",
    "save_image",
    "track_landmarks",
    "write_face_videos",
]
