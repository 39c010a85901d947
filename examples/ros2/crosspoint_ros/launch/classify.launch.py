"""Starts the node: `ros2 launch crosspoint_ros classify.launch.py classifier:=FOLDER points:=/lidar/points`."""

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    config = f"{get_package_share_directory('crosspoint_ros')}/config/classify.yaml"
    return LaunchDescription(
        [
            DeclareLaunchArgument("classifier", description="Bundle of crosspoint fit"),
            DeclareLaunchArgument("points", default_value="/points", description="Topic of PointCloud2 messages"),
            DeclareLaunchArgument("config", default_value=config, description="Parameters"),
            Node(
                package="crosspoint_ros",
                executable="classify",
                name="classify",
                parameters=[LaunchConfiguration("config"), {"classifier": LaunchConfiguration("classifier")}],
                remappings=[("points", LaunchConfiguration("points"))],
                output="screen",
            ),
        ]
    )
