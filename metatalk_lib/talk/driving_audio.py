"""The recording that stage 05 drives the finished video with."""

from pathlib import Path

from metatalk_lib.core.errors import DataError
from metatalk_lib.core.paths import resolve_path
from metatalk_lib.core.stage_configs import RendererConfig
from metatalk_lib.media.audio import write_audio
from metatalk_lib.speech.synthesis import synthesize


def prepare_driving_audio(config: RendererConfig, output: Path) -> Path:
    """Return the recording to speak: the user's, or `driving_text` spoken by a synthetic voice and written to `output`.

    Raises:
        DataError: the user's recording does not exist.
    """
    if config.driving_audio:
        path = resolve_path(config.driving_audio)
        if not path.is_file():
            raise DataError(f"the recording {path} does not exist. Check the parameter `driving_audio`.")
        return path
    speech = synthesize(config.driving_text, config.driving_voice)
    write_audio(output, speech.audio)
    return output
