"""The paper's tables and figures from what was measured."""
