"""Speech: synthesis, features, phonemes and visemes."""
