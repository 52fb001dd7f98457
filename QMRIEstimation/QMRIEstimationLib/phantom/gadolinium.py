"""What a gadolinium chelate in the tissue water does to R1, R2, R2* and chi."""

import math
from dataclasses import dataclass

BODY_TEMPERATURE = 310.0  # K
MOMENT = 7.94  # Bohr magnetons of Gd3+ (spin 7/2, g = 2: sqrt(63))

# Relaxivities of gadobutrol in plasma at 37 degrees, 1/(s mM): field (T) -> r1, r2. 1.5 and 3 T: of the size in
# Rohrer M et al. 2005, Invest Radiol 40:715; 7 T: extrapolated. From memory, not checked against the print.
RELAXIVITIES = {1.5: (5.2, 6.1), 3.0: (5.0, 7.1), 7.0: (4.7, 8.0)}


@dataclass(frozen=True)
class Uptake:
    """Change of the tissue per mM of gadolinium: r1, r2, r2star in 1/(s mM), chi in ppm/mM."""

    r1: float
    r2: float
    r2star: float
    chi: float


def molar_susceptibility(temperature=BODY_TEMPERATURE):
    """Volume susceptibility (SI, ppm) of 1 mM of gadolinium ions by Curie's law, N mu0 (p muB)^2 / (3 kB T).

    >>> round(molar_susceptibility(), 3)
    0.319
    """
    avogadro, boltzmann, bohr_magneton, vacuum = 6.02214076e23, 1.380649e-23, 9.2740100783e-24, 4e-7 * math.pi
    moment = MOMENT * bohr_magneton
    return 1e6 * avogadro * vacuum * moment * moment / (3 * boltzmann * temperature)


def gadolinium_uptake(field_strength):
    """Change per mM of gadolinium spread evenly in the tissue water, at `field_strength` (T).

    R2* grows as R2: the field of unevenly spread gadolinium is left to the dipole field of chi.

    Raises:
        ValueError: no relaxivities are known at this field.
    """
    if field_strength not in RELAXIVITIES:
        raise ValueError(f"field_strength is {field_strength} T, expected one of {sorted(RELAXIVITIES)}.")
    r1, r2 = RELAXIVITIES[field_strength]
    return Uptake(r1, r2, r2, molar_susceptibility())
