import math

import pytest
import torch

from chemscale_bench.models.compat import import_mace
from chemscale_bench.models.equivariant import bessel_functions, polynomial_envelope, spherical_harmonics

CLOSE = {"rtol": 0.0, "atol": 1e-9}


def test_spherical_harmonics_are_those_of_the_coupling_coefficients() -> None:
    directions_E3 = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    directions_E3 /= directions_E3.norm(dim=1, keepdim=True)
    for degree, harmonic in enumerate(spherical_harmonics(directions_E3.T, 3)):
        expected = import_mace("e3nn.o3").spherical_harmonics(degree, directions_E3, True, "component")
        torch.testing.assert_close(harmonic.T, expected, **CLOSE)


@pytest.mark.parametrize("power", [5, 6])
def test_radial_functions_are_those_of_the_library_up_to_a_factor_and_zero_beyond_the_cutoff(power: int) -> None:
    radial = import_mace("mace.modules.radial")
    distance_E = torch.tensor([0.3, 1.0, 3.9, 4.0, 4.1, 9.0])
    envelope_E = polynomial_envelope(distance_E / 4, power)
    torch.testing.assert_close(envelope_E, radial.PolynomialCutoff(4.0, power)(distance_E), rtol=0.0, atol=1e-5)
    assert envelope_E[3:].tolist() == [0, 0, 0]
    ours_RE = math.pi * math.sqrt(2 / 4**3) * bessel_functions(distance_E / 4, torch.ones(6), 8)
    torch.testing.assert_close(ours_RE.T, radial.BesselBasis(4.0, 8)(distance_E[:, None]), rtol=0.0, atol=1e-5)
