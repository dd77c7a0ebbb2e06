"""Figures in the field's style; the only door to matplotlib and mplhep.

Every function returns a matplotlib ``Figure`` that is laid out and ready for ``to_png`` and ``to_pdf``. ``label`` is
free text behind the project's name, such as ``simulation``.
"""

from hepml_core.errors import DependencyError

try:
    import matplotlib  # noqa: F401
    import mplhep  # noqa: F401
except ModuleNotFoundError as error:
    raise DependencyError("matplotlib and mplhep", "report", "drawing figures") from error

from hepml_core.plots.classification import plot_auc_slices, plot_confusion, plot_roc, plot_scores
from hepml_core.plots.comparison import plot_comparison
from hepml_core.plots.compression import Response, plot_bits, plot_latent_scan, plot_response
from hepml_core.plots.movies import Movie, movie_gifs
from hepml_core.plots.overlays import Overlay, plot_distributions, plot_overlays
from hepml_core.plots.pictures import Picture, plot_pictures
from hepml_core.plots.residuals import (
    Residuals,
    plot_corner,
    plot_correlations,
    plot_residuals,
    plot_residuals_by_kind,
)
from hepml_core.plots.showers import (
    Shower,
    TimedHits,
    plot_mean_showers,
    plot_showers,
    plot_spacetime,
    plot_time_spectra,
)
from hepml_core.plots.style import to_pdf, to_png
from hepml_core.plots.training import plot_history

__all__ = [
    "Movie",
    "Overlay",
    "Picture",
    "Residuals",
    "Response",
    "Shower",
    "TimedHits",
    "movie_gifs",
    "plot_auc_slices",
    "plot_bits",
    "plot_comparison",
    "plot_confusion",
    "plot_corner",
    "plot_correlations",
    "plot_distributions",
    "plot_history",
    "plot_latent_scan",
    "plot_mean_showers",
    "plot_overlays",
    "plot_pictures",
    "plot_residuals",
    "plot_residuals_by_kind",
    "plot_response",
    "plot_roc",
    "plot_scores",
    "plot_showers",
    "plot_spacetime",
    "plot_time_spectra",
    "to_pdf",
    "to_png",
]
