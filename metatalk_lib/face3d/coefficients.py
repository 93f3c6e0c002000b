"""The 257 coefficients of each frame: their order, their file, and faces posed anew."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from metatalk_lib.core import artifacts
from metatalk_lib.core.errors import DataError, ParameterError

COEFFICIENT_SIZES: dict[str, int] = {
    "identity": 80,
    "expression": 64,
    "texture": 80,
    "illumination": 27,
    "rotation": 3,
    "translation": 3,
}
_STARTS = np.cumsum([0, *COEFFICIENT_SIZES.values()]).tolist()
# Position of each part in the vector of 257.
SLICES: dict[str, slice] = {
    name: slice(start, start + size)
    for (name, size), start in zip(COEFFICIENT_SIZES.items(), _STARTS[:-1], strict=True)
}
COEFFICIENT_COUNT = _STARTS[-1]


@dataclass(frozen=True)
class Coefficients:
    """The 257 coefficients of every frame of a clip; identity and texture are shared by all frames.

    Attributes:
        frame_id: (T,) numbers in the source video, strictly increasing.
        identity: (80,) identity coefficients, sigma.
        texture: (80,) texture coefficients, sigma.
        expression: (T, 64) expression coefficients, sigma.
        illumination: (T, 27) coefficients of spherical harmonics, colour-major.
        rotation: (T, 3) rotation angles, radians.
        translation: (T, 3) translation, decimetres.
        valid: (T,) whether the frame's fit is trusted.
        landmark_error_px: (T,) mean landmark distance of the fit, crop pixels.
        face_model: name of the face model of these coefficients; they are meaningless for any other model.
    """

    frame_id: Int[np.ndarray, " T"]
    identity: Float[np.ndarray, "80"]
    texture: Float[np.ndarray, "80"]
    expression: Float[np.ndarray, "T 64"]
    illumination: Float[np.ndarray, "T 27"]
    rotation: Float[np.ndarray, "T 3"]
    translation: Float[np.ndarray, "T 3"]
    valid: Bool[np.ndarray, " T"]
    landmark_error_px: Float[np.ndarray, " T"]
    face_model: str = "open"

    def __post_init__(self) -> None:
        frames = len(self.frame_id)
        expected = {
            "frame_id": (frames,),
            "identity": (80,),
            "texture": (80,),
            "expression": (frames, 64),
            "illumination": (frames, 27),
            "rotation": (frames, 3),
            "translation": (frames, 3),
            "valid": (frames,),
            "landmark_error_px": (frames,),
        }
        for name, shape in expected.items():
            if getattr(self, name).shape != shape:
                raise ParameterError(
                    f"coefficients: {name} has shape {getattr(self, name).shape}, expected {shape} for {frames} frames."
                )
        if np.any(np.diff(self.frame_id) <= 0):
            raise ParameterError("coefficients: frame_id must strictly increase. Sort the frames and drop doubles.")

    def __len__(self) -> int:
        return len(self.frame_id)

    def pack(self) -> Float[np.ndarray, "T 257"]:
        """Pack the coefficients in one row of 257 per frame, ordered as `SLICES`; identity and texture repeat."""
        rows = np.zeros((len(self), COEFFICIENT_COUNT), dtype=np.float32)
        for name, part in SLICES.items():
            rows[:, part] = getattr(self, name)
        return rows

    @classmethod
    def unpack(
        cls,
        frame_id: Int[np.ndarray, " T"],
        rows: Float[np.ndarray, "T 257"],
        valid: Bool[np.ndarray, " T"],
        landmark_error_px: Float[np.ndarray, " T"],
        face_model: str = "open",
    ) -> "Coefficients":
        """Build coefficients from packed rows; the inverse of `pack`.

        Raises:
            DataError: there is no frame, or identity or texture differ between the rows.
        """
        if len(rows) == 0:
            raise DataError("coefficients of no frame at all. Run the stage that fits them again.")
        for name in ("identity", "texture"):
            if np.any(rows[:, SLICES[name]] != rows[0, SLICES[name]]):
                raise DataError(f"coefficients: {name} differs between frames, but one clip has one. Fit them again.")
        parts = {name: rows[:, part].astype(np.float32) for name, part in SLICES.items()}
        parts["identity"], parts["texture"] = parts["identity"][0], parts["texture"][0]
        return cls(
            frame_id=frame_id.astype(np.int64),
            valid=valid.astype(bool),
            landmark_error_px=landmark_error_px.astype(np.float32),
            face_model=face_model,
            **parts,
        )

    def save(self, path: Path) -> None:
        """Save as `.npz` with `frame_id`, `coefficients` (T, 257), `valid`, `landmark_error_px`, `face_model`."""
        artifacts.save_arrays(
            path,
            frame_id=self.frame_id.astype(np.int64),
            coefficients=self.pack(),
            valid=self.valid,
            landmark_error_px=self.landmark_error_px.astype(np.float32),
            face_model=np.array(self.face_model),
        )

    @classmethod
    def load(cls, path: Path) -> "Coefficients":
        """Load coefficients that `save` wrote.

        Raises:
            DataError: the file is absent, is not of this format, or holds values that are not finite.
        """
        names = ("frame_id", "coefficients", "valid", "landmark_error_px", "face_model")
        arrays = artifacts.load_arrays(path, *names)
        rows, frames = arrays["coefficients"], len(arrays["frame_id"])
        if rows.shape != (frames, COEFFICIENT_COUNT):
            raise DataError(f"{path}: coefficients have shape {rows.shape}, expected ({frames}, {COEFFICIENT_COUNT}).")
        if not np.isfinite(rows).all():
            raise DataError(f"{path}: coefficients are not finite. Delete the file and run its stage again.")
        parts = (arrays["frame_id"], rows, arrays["valid"], arrays["landmark_error_px"])
        return cls.unpack(*parts, face_model=str(arrays["face_model"]))

    def select(self, frame_ids: Int[np.ndarray, " K"]) -> "Coefficients":
        """Select the coefficients of some frames, by their numbers in the source video.

        Raises:
            ParameterError: a frame is missing.
        """
        return dataclasses.replace(self, **self.take(frame_ids))

    def take(self, frame_ids: Int[np.ndarray, " K"]) -> dict[str, Any]:
        """Return the fields that have one row a frame, at some frames in any order, with repeats.

        Raises:
            ParameterError: a frame is missing.
        """
        rows = np.searchsorted(self.frame_id, frame_ids)
        known = (rows < len(self)) & (self.frame_id[np.minimum(rows, len(self) - 1)] == frame_ids)
        if not known.all():
            missing = ", ".join(str(frame) for frame in np.unique(np.asarray(frame_ids)[~known])[:5])
            raise ParameterError(
                f"coefficients: no frame {missing}; they cover {self.frame_id[0]} to {self.frame_id[-1]}."
            )
        per_frame = ("frame_id", "expression", "illumination", "rotation", "translation", "valid", "landmark_error_px")
        return {name: getattr(self, name)[rows] for name in per_frame}

    def with_expression(self, expression: Float[np.ndarray, "T 64"]) -> "Coefficients":
        """Return the same frames with other expressions.

        Raises:
            ParameterError: the number of frames differs.
        """
        if len(expression) != len(self):
            raise ParameterError(
                f"coefficients: {len(expression)} expressions for {len(self)} frames. Select frames first."
            )
        return dataclasses.replace(self, expression=expression.astype(np.float32))


def rows_by_frame(coefficients: Coefficients) -> dict[int, int]:
    """Map frame_id to row of `coefficients`."""
    return {int(number): row for row, number in enumerate(coefficients.frame_id)}


def repose(
    coefficients: Coefficients, order: Int[np.ndarray, " T"], expression: Float[np.ndarray, "T 64"]
) -> Coefficients:
    """Combine pose and light of the source, in playing order, with the driving expression; `frame_id` counts output.

    Raises:
        ParameterError: a frame in `order` was not fitted.
    """
    played = coefficients.take(order)
    played |= {"frame_id": np.arange(len(order)), "expression": expression.astype(np.float32)}
    return dataclasses.replace(coefficients, **played)
