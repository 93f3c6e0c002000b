from .coefficients import Coefficients
from .face_model import load_face_model

__all__ = ["Coefficients", "load_face_model"]
