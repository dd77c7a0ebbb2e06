"""How good a model is, in numbers with errors."""

from hepml_core.metrics.classification import ConfusionMatrix, accuracy, confusion_matrix
from hepml_core.metrics.measured import BoolArray, FloatArray, IntArray, Measured
from hepml_core.metrics.residuals import (
    Profile,
    Spread,
    correlations,
    measure_spread,
    profile,
    residual,
    wrap_angle,
)
from hepml_core.metrics.roc import (
    OneVsRest,
    RocCurve,
    WorkingPoint,
    auc_one_vs_rest,
    roc_curve,
    roc_one_vs_rest,
    working_points,
)

__all__ = [
    "BoolArray",
    "ConfusionMatrix",
    "FloatArray",
    "IntArray",
    "Measured",
    "OneVsRest",
    "Profile",
    "RocCurve",
    "Spread",
    "WorkingPoint",
    "accuracy",
    "auc_one_vs_rest",
    "confusion_matrix",
    "correlations",
    "measure_spread",
    "profile",
    "residual",
    "roc_curve",
    "roc_one_vs_rest",
    "working_points",
    "wrap_angle",
]
