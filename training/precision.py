"""The precision that trainings on a CPU compute in: bfloat16 where the processor has it."""

import torch

HAS_BFLOAT16 = torch.cpu.get_capabilities().get("avx512_bf16", False)
"""Elsewhere bfloat16 is emulated, slower than float32, and LSTMs have no such kernel at all."""
PRECISION = "bfloat16" if HAS_BFLOAT16 else "float32"


def low_precision() -> torch.autocast:
    """A context in which convolutions and recurrent layers run in bfloat16 where the processor has it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=HAS_BFLOAT16)
