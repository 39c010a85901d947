"""Node `classify`: PointCloud2 on `points` to vision_msgs/Detection3DArray on `objects`. Not executed here."""

import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import PointCloud2
from vision_msgs.msg import Detection3D, Detection3DArray, ObjectHypothesisWithPose

import crosspoint
from crosspoint.core.errors import CrosspointError
from crosspoint.data.frames import Up, parse_up
from crosspoint.data.objects.find import ObjectOptions
from crosspoint.runtime.detect import DetectedObject, cloud_of_message, detect, up_of_frame

PARAMETERS = {
    "classifier": "",
    "device": "cpu",
    "up": "auto",
    "objects": True,
    "walls": False,
    "ground_distance": 0.2,
    "cluster_distance": 0.6,
    "least_points": 30,
    "publish_unknown": True,
}
UNKNOWN = "unknown"
LOG_EVERY = 5.0  # seconds


class ClassifyNode(Node):
    """Classifies the objects of each cloud; the queue holds one cloud, so that it never falls behind."""

    def __init__(self) -> None:
        super().__init__("classify")
        for name, default in PARAMETERS.items():
            self.declare_parameter(name, default)
        given = {name: self.get_parameter(name).value for name in PARAMETERS}
        self._up: Up | None = None if given["up"] == "auto" else parse_up(given["up"])
        self._publish_unknown = bool(given["publish_unknown"])
        self._objects = None
        if given["objects"]:
            kept = ("walls", "ground_distance", "cluster_distance", "least_points")
            self._objects = ObjectOptions(**{name: given[name] for name in kept})
        self._classifier = crosspoint.load(given["classifier"], given["device"])
        self.get_logger().info(f"{self._classifier!r}")
        self._publisher = self.create_publisher(Detection3DArray, "objects", 10)
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # as of sensors
        self.create_subscription(PointCloud2, "points", self.classify, latest)

    def classify(self, message: PointCloud2) -> None:
        """Publish the objects of a cloud, with its stamp and frame."""
        up = self._up or up_of_frame(message.header.frame_id)
        try:
            found = detect(self._classifier, cloud_of_message(message), up=up, objects=self._objects)
        except CrosspointError as error:  # a damaged message must not end the node
            self.get_logger().warning(str(error), throttle_duration_sec=LOG_EVERY)
            return
        kept = [each for each in found if self._publish_unknown or not each.unknown]
        self._publisher.publish(
            Detection3DArray(header=message.header, detections=[detection(each, message) for each in kept])
        )

    def destroy_node(self) -> None:
        """Close the model first."""
        self._classifier.close()
        super().destroy_node()


def detection(found: DetectedObject, message: PointCloud2) -> Detection3D:
    """An object as a message; the class of an unknown one is `unknown`, with the score of its best class."""
    made = Detection3D(header=message.header)
    hypothesis = ObjectHypothesisWithPose()
    hypothesis.hypothesis.class_id = UNKNOWN if found.unknown else found.label
    hypothesis.hypothesis.score = found.probability
    position = made.bbox.center.position
    position.x, position.y, position.z = found.centre
    made.bbox.center.orientation.w = 1.0
    made.bbox.size.x, made.bbox.size.y, made.bbox.size.z = found.size
    hypothesis.pose.pose = made.bbox.center
    made.results.append(hypothesis)
    return made


def main() -> None:
    """Run the node until it is stopped."""
    rclpy.init()
    node: ClassifyNode | None = None
    try:
        node = ClassifyNode()
        rclpy.spin(node)
    except CrosspointError as error:  # a parameter or the classifier
        rclpy.logging.get_logger("classify").fatal(str(error))
        raise SystemExit(error.exit_code) from error
    except KeyboardInterrupt:
        pass
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
