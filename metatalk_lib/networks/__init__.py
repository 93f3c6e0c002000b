"""Public network architectures, checkpoint-compatible; they know nothing of files or characters."""
