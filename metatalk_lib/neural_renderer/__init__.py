"""Stage 05: from coefficients to the painted lower face."""
