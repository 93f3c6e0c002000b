"""MetaTalk: audio-driven, lip-synchronised talking video of a person, in high definition."""

import os
from importlib.metadata import version

# torch's idle threads would spin: beside decoding, drawing and encoding in other threads that costs ten times the time.
# It must be said before torch is loaded for the first time.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = version("metatalk")
