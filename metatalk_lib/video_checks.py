"""Video files that were cut off, told from their containers before a frame is decoded."""

import struct
from pathlib import Path

import av

from metatalk_lib.errors import DataError


def check_end(path: Path, container: av.container.InputContainer, packets: list[av.Packet]) -> None:
    """Compare the length that a Matroska, WebM or AVI file states in its head with the last packet found in it.

    Raises:
        DataError: it ends earlier.
    """
    is_stated = container.duration and container.format.name.split(",")[0] in {"matroska", "avi"}
    ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in packets if p.pts is not None]
    if is_stated and ends and (stated_s := container.duration / av.time_base) > max(ends) + max(0.5, 0.02 * max(ends)):
        raise DataError(
            f"the video {path} is cut off: it should last {stated_s:.2f} s, but ends at {max(ends):.2f} s. "
            "Copy or download it again."
        )


def check_boxes(path: Path, size: int) -> None:
    """Walk the outermost boxes of an MP4 or MOV file: a box beyond the end of the file means that it was cut off.

    Raises:
        DataError: it was.
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
