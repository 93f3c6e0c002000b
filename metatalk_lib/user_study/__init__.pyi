from .analysis import compute_table4
from .design import find_clips, session_order
from .server import make_server
from .store import SCALE, create_study, export_ratings, load_clips, load_ratings

__all__ = [
    "SCALE",
    "compute_table4",
    "create_study",
    "export_ratings",
    "find_clips",
    "load_clips",
    "load_ratings",
    "make_server",
    "session_order",
]
