"""Faces in pictures: detection, landmarks, and the square crop."""
