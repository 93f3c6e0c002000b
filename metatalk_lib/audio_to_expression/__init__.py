"""Stage 04: from speech to expression coefficients."""
