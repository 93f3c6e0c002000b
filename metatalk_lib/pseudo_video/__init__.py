"""Stage 02: the lip-sync teachers and the pseudo videos that they make."""
