"""Where training tasks run: decided when a pipeline is compiled, not in the components.

``HEPML_ACCELERATOR`` names a profile: ``none`` (the default) or ``nvidia-gpu``. Locally all of this is ignored.
"""

from __future__ import annotations

import os

from kfp import dsl, kubernetes

from hepml_core.errors import UnknownNameError

RESOURCES = {"none": "", "nvidia-gpu": "nvidia.com/gpu"}
VARIABLE = "HEPML_ACCELERATOR"


def on_accelerator(task: dsl.PipelineTask) -> dsl.PipelineTask:
    """Place a training task on the profile's accelerator and give it the shared memory that its workers need.

    Raises:
        UnknownNameError: There is no such profile.
    """
    profile = os.environ.get(VARIABLE, "none")
    if profile not in RESOURCES:
        raise UnknownNameError("accelerator", profile, RESOURCES, f"in {VARIABLE}")
    # Containers get 64 MB of /dev/shm by default, which data loaders and collective communication outgrow.
    kubernetes.empty_dir_mount(task, volume_name="shared-memory", mount_path="/dev/shm", medium="Memory")  # noqa: S108
    if RESOURCES[profile]:
        task.set_accelerator_type(RESOURCES[profile]).set_accelerator_limit(1)
    return task
