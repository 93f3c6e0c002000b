"""A person as stages 01 and 03 left them: the source video, the crop and the coefficients."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from metatalk_lib.core.errors import DataError, ParameterError
from metatalk_lib.face3d.coefficients import Coefficients
from metatalk_lib.media.video import probe_video
from metatalk_lib.tracking.crop import CropTransform, load_crop


@dataclass(frozen=True)
class Character:
    """Outputs of stages 01 and 03 for one person.

    Attributes:
        source: the source video.
        fps: frame rate of the source video, Hz.
        frame_count: number of frames of the source video.
        codec: codec family of the source video.
        transform: position of the crop in the source video.
        coefficients: coefficients of every source frame.
    """

    source: Path
    fps: Fraction
    frame_count: int
    codec: str
    transform: CropTransform
    coefficients: Coefficients

    def check_start(self, start_frame: int) -> None:
        """Raise a `ParameterError` if the source does not have the first frame."""
        if not 0 <= start_frame < self.frame_count:
            raise ParameterError(f"start_frame is {start_frame}; the source has frames 0 to {self.frame_count - 1}.")


def load_character(character_dir: Path) -> Character:
    """Load the outputs of stages 01 and 03.

    Raises:
        DataError: a file is missing, the source video has changed since, or frames lack coefficients.
    """
    crop_path = character_dir / "01_crop" / "crop.json"
    crop = load_crop(crop_path)
    transform = CropTransform(left=crop["left"], top=crop["top"], side=crop["side"], size=crop["size"])
    info = probe_video(crop["source"])
    found, expected = (info.width, info.height, info.frame_count), (crop["width"], crop["height"], crop["frame_count"])
    if found != expected:
        raise DataError(
            f"{crop['source']} has (width, height, frames) {found}, but {crop_path} was made from {expected}. "
            "The video has changed: run from 01_crop again."
        )
    coefficients = Coefficients.load(character_dir / "03_reconstruction" / "coefficients.npz")
    missing = sorted(set(range(info.frame_count)) - set(coefficients.frame_id.tolist()))
    if missing:
        raise DataError(
            f"03_reconstruction has no coefficients for {len(missing)} of {info.frame_count} frames, the first is "
            f"{missing[0]}. Run 03_reconstruction again."
        )
    return Character(
        Path(crop["source"]), Fraction(*crop["fps"]), info.frame_count, info.codec, transform, coefficients
    )
