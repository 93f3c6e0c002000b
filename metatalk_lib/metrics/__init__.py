"""Measures over arrays; they read no files."""
