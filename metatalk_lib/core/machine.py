"""The machine that a figure was measured on."""

import os
import platform


def describe_machine() -> str:
    """Describe the machine in words: processor, cores, operating system and Python."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"
