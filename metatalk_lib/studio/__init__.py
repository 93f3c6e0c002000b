"""Seven embedded people, rendered with their ground truth; the method sees only the files a user's video has."""
