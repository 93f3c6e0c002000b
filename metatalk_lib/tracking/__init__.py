"""Faces in pictures: detection, landmarks, and the square crop."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
