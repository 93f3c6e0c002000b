"""Seven embedded people, rendered with their ground truth; the method sees only the files a user's video has."""

from metatalk_lib.studio.cast import CHARACTERS
from metatalk_lib.studio.characters import Character
from metatalk_lib.studio.film import ensure_studio_video, studio_video_path

__all__ = ["CHARACTERS", "Character", "ensure_studio_video", "studio_video_path"]
