"""Our own implementations of public architectures, checkpoint-compatible; they know nothing of files or characters."""
