"""From a recipe's datasets to batches: loading, checks, encoding, mixing."""
