"""How good a model is, in numbers with errors."""

from hepml_core.metrics.classification import ConfusionMatrix, accuracy, confusion_matrix, log_loss
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
    measure_auc,
    measure_rejection,
    roc_curve,
    roc_one_vs_rest,
    working_points,
)
from hepml_core.metrics.slices import AucSlice, auc_by_slice

__all__ = [
    "AucSlice",
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
    "auc_by_slice",
    "auc_one_vs_rest",
    "confusion_matrix",
    "correlations",
    "log_loss",
    "measure_auc",
    "measure_rejection",
    "measure_spread",
    "profile",
    "residual",
    "roc_curve",
    "roc_one_vs_rest",
    "working_points",
    "wrap_angle",
]
