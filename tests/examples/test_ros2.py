"""The ROS 2 package, as far as it can be read without ROS."""

import ast
import inspect
import re

import pytest

from crosspoint.data.objects.find import ObjectOptions

yaml = pytest.importorskip("yaml")


@pytest.fixture(scope="module")
def package(examples):
    return examples / "ros2" / "crosspoint_ros"


@pytest.fixture(scope="module")
def parameters(package):
    """Names and defaults, as the node declares them."""
    tree = ast.parse((package / "crosspoint_ros" / "classify_node.py").read_text())
    (found,) = [node.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "PARAMETERS"]
    return ast.literal_eval(found)


def test_the_file_of_parameters_has_the_defaults_of_the_node(package, parameters):
    written = yaml.safe_load((package / "config" / "classify.yaml").read_text())["classify"]["ros__parameters"]
    assert written | {"classifier": ""} == parameters


def test_defaults_of_objects_are_those_of_the_package(parameters):
    own = {name: field.default for name, field in inspect.signature(ObjectOptions).parameters.items() if name != "up"}
    assert {name: value for name, value in parameters.items() if name in own} == {
        name: own[name] for name in ("walls", "ground_distance", "cluster_distance", "least_points")
    }


def test_the_page_names_every_parameter(examples, parameters):
    named = set(re.findall(r"`(\w+)`", (examples / "ros2" / "README.md").read_text()))
    assert set(parameters) <= named


def test_every_name_that_the_node_imports_from_the_package_exists(package):
    from importlib import import_module

    tree = ast.parse((package / "crosspoint_ros" / "classify_node.py").read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and "crosspoint." in node.module]
    assert len(imports) >= 3
    for node in imports:
        assert all(hasattr(import_module(node.module), name.name) for name in node.names)


def test_what_setup_installs_is_there(package):
    listed = re.findall(r'"((?:launch|config)/[^"]+|package\.xml)"', (package / "setup.py").read_text())
    assert len(listed) == 3
    assert all((package / name).is_file() for name in listed)
