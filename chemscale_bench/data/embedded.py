"""The embedded data set: about 16,000 real molecules that RDKit installs, so that nothing is downloaded."""

from __future__ import annotations

from pathlib import Path

from rdkit import RDConfig

from chemscale_bench.errors import UserError


def files() -> list[Path]:
    """NCI (4,999), WEHI (10,000) and ChEMBL (1,017) molecules, in this order.

    Raises:
        UserError: this RDKit lacks one of the files.
    """
    found = [
        Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi",
        Path(RDConfig.RDDataDir) / "Pains" / "test_data" / "wehi_mols.csv",
        Path(RDConfig.RDContribDir) / "FreeWilson" / "data" / "CHEMBL2321810.smi",
    ]
    for file in found:
        if not file.is_file():
            raise UserError(
                f"data=embedded needs {file.name}, which the wheels of rdkit carry but this installation does not; "
                "pip install rdkit, or give data=/path/to/molecules.smi"
            )
    return found
