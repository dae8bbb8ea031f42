"""What the engines on transformers share: the model, its weights, generate, and ranks that split it."""
