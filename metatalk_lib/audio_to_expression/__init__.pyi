from .model import load_a2e, predict_expression, save_a2e
from .sentence_preview import check_lips, speak_sentence
from .silence_gate import close_mouth_in_silence
from .training import A2ESettings, predict_held_out, train_a2e
from .training_pairs import describe_pairs, load_pairs, mean_teacher_correlation

__all__ = [
    "A2ESettings",
    "check_lips",
    "close_mouth_in_silence",
    "describe_pairs",
    "load_a2e",
    "load_pairs",
    "mean_teacher_correlation",
    "predict_expression",
    "predict_held_out",
    "save_a2e",
    "speak_sentence",
    "train_a2e",
]
