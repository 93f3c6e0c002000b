"""The compared methods, each with one function that makes a person speak."""
