"""Checks of a container: constant frame rates, and packets that reach the stated end."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from jaxtyping import Int

from metatalk_lib.core.errors import DataError

STANDARD_RATES = tuple(
    Fraction(rate) for rate in (10, 12, 15, "24000/1001", 24, 25, "30000/1001", 30, 48, 50, "60000/1001", 60, 120)
)
"""Common frame rates, Hz."""


def schedule_frames(
    stamps: Int[np.ndarray, " T"], average: Fraction, time_base: Fraction
) -> tuple[Fraction, Int[np.ndarray, " K"]]:
    """Choose the frame rate, and the time stamp shown at each frame.

    The first rate is chosen under which every frame falls into its own slot: the file's average rate, then the fitted
    one. If there is none, the rate is variable and the fitted one is its nominal rate.

    Args:
        stamps: time stamps of the file's frames, rising.
        average: average frame rate stated by the file, Hz.
        time_base: unit of the time stamps, s.

    Source: original to this project.
    """
    if len(stamps) < 2:
        return average, stamps
    fitted = _snap(_fit_rate(stamps, time_base))
    for fps in (_snap(average), average, fitted):
        chosen = _resample_stamps(stamps, fps, time_base)
        if len(chosen) == len(stamps) and (chosen == stamps).all():
            return fps, chosen
    return fitted, _resample_stamps(stamps, fitted, time_base)


def _fit_rate(stamps: np.ndarray, time_base: Fraction) -> Fraction:
    """Fit the frame rate to the time stamps: the least-squares slope of time over slot number.

    Slots are counted from one frame to the next, so that rounding of the time stamps does not accumulate.
    """
    distances = np.diff(stamps).astype(np.float64)
    slots = np.concatenate([[0.0], np.cumsum(np.rint(distances / np.median(distances)))])
    slots, elapsed = slots - slots.mean(), stamps - stamps.mean()
    return 1 / (Fraction(float(slots @ elapsed / (slots @ slots))) * time_base)


def _snap(rate: Fraction) -> Fraction:
    """Return the nearest standard frame rate within 1 %, else the rate itself with a small denominator."""
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return nearest if abs(nearest - rate) <= rate / 100 else rate.limit_denominator(1001)


def _resample_stamps(stamps: np.ndarray, fps: Fraction, time_base: Fraction) -> np.ndarray:
    """Return for each slot the last frame whose own slot, round(t fps), is not later."""
    ticks = Fraction(1) / (fps * time_base)  # time-stamp units per frame
    slots = np.floor((stamps - stamps[0]) / float(ticks) + 0.5).astype(np.int64)
    return stamps[np.searchsorted(slots, np.arange(slots[-1] + 1), side="right") - 1]


def check_end(path: Path, container: av.container.InputContainer, packets: list[av.Packet]) -> None:  # type: ignore[type-arg]  # generic in its stubs only
    """Compare the duration in the header of a Matroska, WebM or AVI file with the last packet found in it.

    Raises:
        DataError: the file ends before its stated duration.
    """
    stated = container.duration if container.format.name.split(",")[0] in {"matroska", "avi"} else None
    ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in packets if p.pts is not None]
    if stated and ends and (stated_s := stated / av.time_base) > max(ends) + max(0.5, 0.02 * max(ends)):
        raise DataError(
            f"the video {path} is cut off: it should last {stated_s:.2f} s, but ends at {max(ends):.2f} s. "
            "Copy or download it again."
        )


def check_boxes(path: Path, size: int) -> None:
    """Walk the top-level boxes of an MP4 or MOV file: a box beyond the end of the file means that it is truncated.

    Raises:
        DataError: the file is truncated.
    """
    with open(path, "rb") as file:
        if file.read(8)[4:] not in {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"}:
            return
        offset, kinds = 0, set()
        while offset + 8 <= size:
            file.seek(offset)
            header = file.read(16)
            length, kind = struct.unpack(">I4s", header[:8])
            if length == 1 and len(header) == 16:
                length = struct.unpack(">Q", header[8:])[0]
            length = size - offset if length == 0 else length
            kinds.add(kind)
            if length < 8 or offset + length > size:
                raise DataError(
                    f"the video {path} is cut off: it should have {offset + length} bytes or more, not {size}. "
                    "Copy or download it again."
                )
            offset += length
    if b"moov" not in kinds:
        raise DataError(
            f"the video {path} is cut off: it has no index (`moov`), so the recording never ended. Record it again."
        )
