"""Stage 06: every method's videos judged by one protocol, with controls and cheats."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
