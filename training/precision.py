"""Numerical precision of trainings on a CPU: bfloat16 where the processor supports it."""

import torch

HAS_BFLOAT16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
"""Whether the processor supports bfloat16. Elsewhere it is emulated, slower than float32, and LSTMs do not have it."""
PRECISION = "bfloat16" if HAS_BFLOAT16 else "float32"


def low_precision() -> torch.autocast:
    """Context in which convolutions and recurrent layers run in bfloat16 where the processor supports it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=HAS_BFLOAT16)
