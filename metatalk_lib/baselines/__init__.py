"""Compared methods, one module each, with `talk(character_dir, audio_path, output, ...)` as their only promise."""
