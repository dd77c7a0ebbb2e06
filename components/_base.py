"""Images of the components, by dependency set.

``HEPML_IMAGES`` names the registry and folder that hold them, ``HEPML_TAG`` their tag; both are read when a pipeline is
compiled.
"""

from __future__ import annotations

import functools
import os

from kfp import dsl

from hepml_core import __version__

IMAGES = os.environ.get("HEPML_IMAGES", "hepml")
TAG = os.environ.get("HEPML_TAG", __version__)

# The images carry hepml_core and kfp's runtime, so a task need not install anything from the network.
prepare_component = functools.partial(dsl.component, base_image=f"{IMAGES}/prepare:{TAG}", install_kfp_package=False)
train_component = functools.partial(dsl.component, base_image=f"{IMAGES}/train-gpu:{TAG}", install_kfp_package=False)
