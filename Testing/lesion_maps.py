"""Maps of a few lesions drawn straight into a small volume, for tests of what is read from maps."""

import numpy as np
from QMRIEstimationLib.geometry import Geometry
from QMRIEstimationLib.maps import QuantitativeMap
from QMRILesionStagingLib.staging import StagingInput
from scipy import ndimage

WHITE = {"R1": 1.15, "R2": 13.0, "R2star": 20.5, "PD": 69.0, "Chi": -0.03}
NOISE = {"R1": 0.02, "R2": 0.3, "R2star": 0.5, "PD": 0.7, "Chi": 0.003}
PARTS = 3  # sub-voxels along each axis


class Canvas:
    """White matter with lesions; every map is drawn on sub-voxels and averaged."""

    def __init__(self, shape=(48, 48, 48), voxel=(1.0, 1.0, 1.0), seed=0, matrix=None):
        self.voxel, self.shape = np.array(voxel), shape
        if matrix is None:
            matrix = np.diag([*self.voxel[::-1], 1.0])
        self.geometry = Geometry(tuple(shape), matrix)
        self.rng = np.random.default_rng(seed)
        fine = [n * PARTS for n in shape]
        self.maps = {name: np.full(fine, value, np.float32) for name, value in WHITE.items()}
        self.before, self.after = np.ones(fine, np.float32), np.ones(fine, np.float32)
        self.lesions = np.zeros(fine, np.int16)
        self.tissue = np.ones(fine, np.int16)
        self.places = np.stack(
            np.meshgrid(*((np.arange(n) + 0.5) / PARTS * v for n, v in zip(fine, voxel, strict=True)), indexing="ij"),
            -1,
        ).astype(np.float32)

    def ball(self, centre, diameter):
        """Depth (mm) below the surface of a ball, negative outside."""
        return diameter / 2 - np.linalg.norm(self.places - np.asarray(centre, np.float32), axis=-1)

    def lesion(self, centre, diameter, chi=0.012, rim=None, thickness=1.5, covered=None, uptake=None, **deltas):
        """Draw a lesion. chi, rim: ppm above white matter. covered: bool of the places that may have rim.

        uptake: None, "nodular" or "ring". deltas: of R1, R2, R2star, PD, absolute.
        """
        depth = self.ball(centre, diameter)
        inside, shell = depth > 0, (depth > 0) & (depth < thickness)
        self.maps["Chi"][inside] = WHITE["Chi"] + chi
        if rim is not None:
            bright = shell if covered is None else shell & covered
            self.maps["Chi"][bright] = WHITE["Chi"] + rim
            self.maps["R2star"][bright] += 4
        for name, delta in deltas.items():
            self.maps[name][inside] += delta
        self.before[inside] *= 0.8
        self.after[inside] *= 0.8
        if uptake is not None:
            self.after[inside if uptake == "nodular" else shell] += 0.5
        self.lesions[inside] = self.lesions.max() + 1
        return self

    def average(self, fine):
        shape = [n for size in self.shape for n in (size, PARTS)]
        return fine.reshape(shape).mean((1, 3, 5), dtype=np.float32)

    def labels(self):
        """int32, the lesion that most of a voxel belongs to, where at least half of it is lesion."""
        out = np.zeros(self.shape, np.int32)
        for number in range(1, int(self.lesions.max()) + 1):
            out[self.average((self.lesions == number).astype(np.float32)) >= 0.5] = number
        return out

    def given(self, noise=1.0, names=tuple(WHITE), **changes):
        """StagingInput with noise of NOISE times `noise`."""
        valid = np.ones(self.shape, bool)
        maps = {}
        for name in names:
            sd = NOISE[name] * noise
            values = self.average(self.maps[name]) + sd * self.rng.standard_normal(self.shape).astype(np.float32)
            maps[name] = QuantitativeMap(
                name, values, np.full(self.shape, max(sd, 1e-6), np.float32), np.zeros(self.shape, np.float32), valid,
                self.geometry, "drawn", "", "", {"PhaseSign": 1},
            )  # fmt: skip
        images = [
            self.average(image) + 0.02 * noise * self.rng.standard_normal(self.shape).astype(np.float32)
            for image in (self.before, self.after)
        ]
        nearest = self.tissue[tuple(slice(PARTS // 2, None, PARTS) for _ in range(3))]
        values = {
            "maps": maps,
            "geometry": self.geometry,
            "brain": ndimage.binary_erosion(valid, iterations=1),
            "drawn": self.labels() > 0,
            "tissue": (nearest, {1: "white matter", 2: "cortex", 3: "CSF"}),
            "before": images[0],
            "after": images[1],
            "field_strength": 3.0,
        }
        return StagingInput(**(values | changes))
