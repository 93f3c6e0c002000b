"""Stage 03: a face video to 257 coefficients a frame."""
