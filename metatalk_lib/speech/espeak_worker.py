"""Synthesis of one espeak-ng utterance per process, standard library only: `python espeak_worker.py < request.json`.

espeak-ng carries noise and oscillator state from one utterance to the next, so that equal requests give different
samples within one process. A fresh process with a fixed seed gives equal bytes and contains a crash of the C library.

Request on stdin: one JSON object with `library`, `data`, `voice`, `text`, `speed_wpm`, `pitch`. Reply on stdout: one
line of JSON with `rate`, `samples` and `events` [[first sample, IPA symbol], ...] (an empty symbol is a pause), or
`error`; then the int16 samples.
"""

import ctypes
import json
import sys

OUTPUT_SYNCHRONOUS = 2
PHONEME_EVENTS_AS_IPA = 3
EVENT_END_OF_LIST = 0
EVENT_PHONEME = 7
PARAMETER_RATE = 1
PARAMETER_PITCH = 3
POSITION_IS_CHARACTER = 1
TEXT_IS_UTF8 = 1
NOISE_SEED = 1


class EventIdentity(ctypes.Union):
    """Payload of an event; a phoneme's name is in `string`, UTF-8, at most 8 bytes."""

    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class Event(ctypes.Structure):
    """espeak-ng's `espeak_EVENT`."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position_ms", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("identity", EventIdentity),
    ]


CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(Event))


def speak(request: dict) -> tuple[dict, bytes]:
    """Synthesise one request and return the reply's header and the little-endian int16 samples.

    Source: espeak-ng's public C interface (speak_lib.h, API revision 12); code original to this project.
    """
    library = ctypes.CDLL(request["library"])
    rate = library.espeak_Initialize(OUTPUT_SYNCHRONOUS, 0, request["data"].encode(), PHONEME_EVENTS_AS_IPA)
    if rate <= 0:
        return {"error": f"espeak-ng did not start (code {rate})"}, b""
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_ng_SetRandSeed(NOISE_SEED)
    if library.espeak_SetVoiceByName(request["voice"].encode()) != 0:
        return {"error": f"espeak-ng has no voice `{request['voice']}`"}, b""
    library.espeak_SetParameter(PARAMETER_RATE, int(request["speed_wpm"]), 0)
    library.espeak_SetParameter(PARAMETER_PITCH, int(request["pitch"]), 0)
    chunks: list[bytes] = []
    events: list[tuple[int, str]] = []

    @CALLBACK
    def collect(wave, count, event) -> int:
        if wave and count > 0:
            chunks.append(ctypes.string_at(wave, 2 * count))
        index = 0
        while event[index].type != EVENT_END_OF_LIST:
            if event[index].type == EVENT_PHONEME:
                # A long symbol is truncated at eight bytes, which may fall inside a UTF-8 sequence.
                events.append((event[index].sample, event[index].identity.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    library.espeak_SetSynthCallback(collect)
    text = request["text"].encode("utf-8")
    code = library.espeak_Synth(text, len(text) + 1, 0, POSITION_IS_CHARACTER, 0, TEXT_IS_UTF8, None, None)
    if code != 0:
        return {"error": f"espeak-ng refused the text (code {code})"}, b""
    library.espeak_Synchronize()
    samples = b"".join(chunks)
    return {"rate": rate, "samples": len(samples) // 2, "events": events}, samples


if __name__ == "__main__":
    header, payload = speak(json.load(sys.stdin))
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + payload)
