"""MetaTalk: audio-driven, lip-synchronised talking video of a person, in high definition."""
