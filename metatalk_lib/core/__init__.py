"""Plumbing that every package stands on: errors, paths, parameters, files, stages, threads."""
