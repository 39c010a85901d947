"""What the metadata of a file of weights must hold, and what is said of a file that is not one."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from crosspoint.core.errors import InputError
from crosspoint.core.weights_file import WeightsMetadata, read_metadata


def write(path, metadata):
    save_file({"a": np.zeros(1, np.float32)}, path, metadata)
    return path


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(InputError, match=r"a\.safetensors does not exist; give a run folder or a \.safetensors file"):
        read_metadata(tmp_path / "a.safetensors")


@pytest.mark.parametrize("recipe", [None, {"epochs": 3}])
def test_the_network_and_the_recipe_are_read(tmp_path, recipe):
    path = write(tmp_path / "a.safetensors", {"crosspoint": json.dumps({"model": {"k": 4}, "recipe": recipe})})
    assert read_metadata(path) == WeightsMetadata({"k": 4}, recipe)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"other": "{}"}, "was not written by crosspoint"),
        ({"crosspoint": "{"}, "damaged"),
        ({"crosspoint": "[]"}, "does not name its network"),
        ({"crosspoint": '{"recipe": null}'}, "does not name its network"),
        ({"crosspoint": '{"model": [], "recipe": null}'}, "does not name its network"),
        ({"crosspoint": '{"model": {}}'}, "does not name its network"),
        ({"crosspoint": '{"model": {}, "recipe": 3}'}, "does not name its network"),
    ],
)
def test_other_metadata_is_refused(tmp_path, metadata, reason):
    with pytest.raises(InputError, match=reason):
        read_metadata(write(tmp_path / "a.safetensors", metadata))
