"""The compiled part of the codec: SMILES bytes to SELFIES symbol codes, the same symbols as `selfies.encoder`."""
