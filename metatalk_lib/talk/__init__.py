"""The test phase: any recording to the finished video."""
