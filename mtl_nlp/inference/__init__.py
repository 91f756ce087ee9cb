"""A trained model in use: predictor, pipeline, file prediction, export."""
