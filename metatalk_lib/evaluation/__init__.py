"""Stage 06: every method's videos judged by one protocol, with controls and cheats."""
