"""Installs the node, its launch file and its parameters."""

from setuptools import setup

NAME = "crosspoint_ros"

setup(
    name=NAME,
    version="0.1.0",
    packages=[NAME],
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", ["launch/classify.launch.py"]),
        (f"share/{NAME}/config", ["config/classify.yaml"]),
    ],
    install_requires=["setuptools"],
    entry_points={"console_scripts": [f"classify = {NAME}.classify_node:main"]},
)
