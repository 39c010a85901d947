"""A ROS 2 node that names the objects in clouds with a classifier of `crosspoint fit`."""
