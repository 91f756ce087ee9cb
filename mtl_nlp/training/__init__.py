"""The Accelerate loop and what it needs: objective, optimizer, evaluation, checkpoints."""
