"""The shared-encoder model and the batch it reads."""
