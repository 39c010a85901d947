"""Who hears what TensorRT logs."""

import contextlib
import threading
from types import SimpleNamespace

import pytest

from crosspoint.core.errors import InputError
from crosspoint.runtime.backends.tensorrt_log import construct, errors_of, logger

ERROR, WARNING = 1, 2


class Module:
    """As much of TensorRT as logs."""

    __name__, __version__ = "tensorrt", "10.3.0"

    def __init__(self, begin=lambda: None) -> None:
        class Logger:
            Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=ERROR, WARNING=WARNING)

            def __init__(self) -> None:
                begin()

        self.ILogger = Logger


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments)
    thread.start()
    thread.join()


def test_errors_are_heard_on_one_line_and_warnings_are_not():
    trt = Module()
    with errors_of(trt) as heard:
        logger(trt).log(ERROR, "one\n  two")
        logger(trt).log(WARNING, "three")
    logger(trt).log(ERROR, "after the block")
    assert heard == ["one two"]


def test_a_thread_that_listens_does_not_hear_another_one_s_errors():
    trt = Module()

    def other():
        with errors_of(trt) as own:
            logger(trt).log(ERROR, "mine")
        assert own == ["mine"]

    with errors_of(trt) as heard:
        in_thread(other)
    assert heard == []


def test_what_threads_of_tensorrt_log_is_heard():
    trt = Module()
    with errors_of(trt) as heard:
        in_thread(logger(trt).log, ERROR, "from within")
    assert heard == ["from within"]


def test_threads_that_come_at_once_get_the_same_logger():
    meeting = threading.Barrier(2)

    def begin():
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.05)  # inside the constructor, for another one that is there too

    trt, got = Module(begin), []
    threads = [threading.Thread(target=lambda: got.append(logger(trt))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] is got[1]


def test_a_constructor_that_logs_an_error_made_nothing_fit_for_use():
    trt = Module()

    def runtime(log):
        log.log(ERROR, "CUDA initialization failure with error: 35")
        return "an object whose use ends the process"

    with pytest.raises(InputError, match=r"tensorrt 10\.3\.0 does not start \(CUDA .* error: 35\); run nvidia-smi"):
        construct(trt, runtime)


def test_a_bare_type_error_of_a_constructor_is_one_line():
    def builder(log):
        raise TypeError("pybind11::init(): factory function returned nullptr")

    with pytest.raises(InputError, match=r"does not start \(pybind11::init\(\): .* nullptr\); run nvidia-smi"):
        construct(Module(), builder)


def test_what_a_constructor_makes_is_given():
    trt = Module()
    assert construct(trt, lambda log: ("made with", log)) == ("made with", logger(trt))
