"""Parameters of the verb `embed`."""

from __future__ import annotations

from chemscale_bench.settings.features import FeatureSettings


class EmbedSettings(FeatureSettings):
    """Turn the molecules of a file into the vectors of a trained language model."""

    run: str = ""
    """Id of a finished run, folder of a checkpoint (a released ChemGPT too), or its name on the Hugging Face hub."""
    data: str = ""
    """File of SMILES (.csv, .smi, .txt, also compressed); its column and delimiter are found."""
    out: str = "features.parquet"
    """Parquet file to write: smiles, reason (why a molecule has no features, mostly empty), f0, f1, ..."""
