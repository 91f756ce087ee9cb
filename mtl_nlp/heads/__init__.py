"""Modules that turn an encoder's hidden states into a task's logits."""
