"""The source video of stage 01: the user's own, or a studio character's."""

from pathlib import Path

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import resolve_path
from metatalk_lib.core.stage_configs import CropConfig


def resolve_source(config: CropConfig) -> Path:
    """Return the path of the source video; the studio's video is rendered if it does not exist yet.

    Raises:
        DataError: the user's video does not exist.
    """
    if config.video == "studio":
        # imported here, because a user's own video needs no studio
        from metatalk_lib.studio.render_video import ensure_studio_video

        return Path(ensure_studio_video(config.character, config.studio_seconds, config.studio_scale, config.seed))
    path = resolve_path(config.video)
    if not path.is_file():
        raise DataError(f"01_crop: the video {path} does not exist. Check the parameter `video`.")
    return path
