"""Data that travels with the package: public-domain prose, and the tokenizer that was trained on it."""
