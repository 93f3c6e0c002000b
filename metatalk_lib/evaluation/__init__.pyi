from .audiodvp_baseline import describe_training, load_renderer_history, train_baseline
from .cheats import find_passing_cheats
from .controls import add_controls, check_controls, describe_verdict, order_controls, write_controls
from .face_measures import check_follower, compare_faces, measure_held_out_faces
from .failures import Failures
from .held_out import FinishedVideo, fit_sound
from .image_measures import (
    collect_scores,
    load_references,
    measure_images,
    measure_ssim_variants,
    measure_sync,
)
from .judges import add_lip_sync, find_judging_failures, judge_original, leave_out, tabulate_lip_sync
from .lse_judge import score_videos
from .methods import METHODS, list_methods, make_videos
from .protocol import (
    choose_baseline,
    collect_ablation,
    collect_controls,
    list_clips,
    load_judges,
    load_tail,
    record_weights,
    summarise,
    write_recordings,
)
from .test_split import HELD_OUT

__all__ = [
    "HELD_OUT",
    "METHODS",
    "Failures",
    "FinishedVideo",
    "add_controls",
    "add_lip_sync",
    "check_controls",
    "check_follower",
    "choose_baseline",
    "collect_ablation",
    "collect_controls",
    "collect_scores",
    "compare_faces",
    "describe_training",
    "describe_verdict",
    "find_judging_failures",
    "find_passing_cheats",
    "fit_sound",
    "judge_original",
    "leave_out",
    "list_clips",
    "list_methods",
    "load_judges",
    "load_references",
    "load_renderer_history",
    "load_tail",
    "make_videos",
    "measure_held_out_faces",
    "measure_images",
    "measure_ssim_variants",
    "measure_sync",
    "order_controls",
    "record_weights",
    "score_videos",
    "summarise",
    "tabulate_lip_sync",
    "train_baseline",
    "write_controls",
    "write_recordings",
]
