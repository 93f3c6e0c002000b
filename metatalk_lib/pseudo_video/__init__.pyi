from .inspection import check_openings, compare_openings, cut_pseudo_mouths
from .lip_lead import expected_actions, measure_lead
from .pairs import PSEUDO_SIZE, choose_background, list_pairs, make_pseudo_video
from .refit import compare_with_teacher, reconstruct_pairs
from .teachers import list_files_used, make_teacher, plan_corpus

__all__ = [
    "PSEUDO_SIZE",
    "check_openings",
    "choose_background",
    "compare_openings",
    "compare_with_teacher",
    "cut_pseudo_mouths",
    "expected_actions",
    "list_files_used",
    "list_pairs",
    "make_pseudo_video",
    "make_teacher",
    "measure_lead",
    "plan_corpus",
    "reconstruct_pairs",
]
