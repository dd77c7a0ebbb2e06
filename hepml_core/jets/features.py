"""What a network sees of a row: scaled variables, angles as numbers or as points on a circle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepml_core.jets.scalers import Scaler
from hepml_core.jets.variables import variable_of

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Features:
    """Turns rows of variables into features and back.

    With angles on a circle, each angle's place has its cosine, and its sine follows after all variables: -pi and pi are
    the same point then, as they are in the detector.

    Attributes:
        variables: The columns.
        scaler: Their normalization.
        angles: How angles are given.
    """

    variables: tuple[str, ...]
    scaler: Scaler
    angles: Literal["number", "circle"]

    @property
    def width(self) -> int:
        """Number of features of a row."""
        return len(self.variables) + len(self._angles)

    @property
    def _angles(self) -> list[int]:
        if self.angles == "number":
            return []
        return [
            number
            for number, name in enumerate(self.variables)
            if not name.startswith("is_") and variable_of(name).angle
        ]

    def forward(self, value_nf: FloatArray) -> FloatArray:
        """Return features (n, width) of rows (n, f).

        Raises:
            DataError: A value is outside the domain of its transform.
        """
        scaled_nf = self.scaler.forward(value_nf)
        if not self._angles:
            return scaled_nf
        angle_na = value_nf[:, self._angles].astype(np.float64)
        feature_nf = np.concatenate([scaled_nf, np.sin(angle_na).astype(np.float32)], axis=1)
        feature_nf[:, self._angles] = np.cos(angle_na)
        return feature_nf

    def inverse(self, feature_nf: FloatArray) -> FloatArray:
        """Return rows (n, f) of features (n, width)."""
        count = len(self.variables)
        if not self._angles:
            return self.scaler.inverse(feature_nf)
        scaled_nf = feature_nf[:, :count].copy()
        scaled_nf[:, self._angles] = 0
        value_nf = self.scaler.inverse(scaled_nf)
        value_nf[:, self._angles] = np.arctan2(feature_nf[:, count:], feature_nf[:, self._angles])
        return value_nf
