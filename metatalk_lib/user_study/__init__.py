"""Stage 07: blinded ratings of finished clips."""
