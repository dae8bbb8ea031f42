"""Train the embedded tokenizer on the shipped prose: python -m tests.train_tokenizer"""

from __future__ import annotations

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bench.data import HERE, prose

SPECIAL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]


def train(vocab_size: int = 8192) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, special_tokens=SPECIAL_TOKENS, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(prose(), trainer)
    return tokenizer


if __name__ == "__main__":
    train().save(str(HERE / "tokenizer.json"), pretty=False)
