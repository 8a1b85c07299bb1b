"""Molecules in, packed tokens out: sources, the SMILES codec, the vocabulary and the token store."""
