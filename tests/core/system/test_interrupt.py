"""Signals that ask a process to end: raised once, never lost, and of no concern to forked processes."""

import os
import signal
import subprocess
import sys

import pytest

from crosspoint.core.system.interrupt import Stopped, stop_signals


def run(code, **options):
    head = "import os, signal, sys, time\nfrom crosspoint.core.system.interrupt import Terminated, end_on_signals\n"
    return subprocess.run([sys.executable, "-c", head + code], capture_output=True, text=True, check=False, **options)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_undoes_what_was_begun(name):
    done = run(f"""
end_on_signals()
try:
    os.kill(os.getpid(), signal.{name})
    signal.pause()
except Terminated as ended:
    print(ended, ended.number == signal.{name})
""")
    assert done.stdout == f"asked to end by {name} True\n", done.stderr


def test_a_second_signal_does_not_disturb_the_cleaning_up():
    done = run("""
end_on_signals()
try:
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()
except Terminated:
    for number in (signal.SIGTERM, signal.SIGHUP):
        os.kill(os.getpid(), number)
    print("cleaned up")
""")
    assert (done.stdout, done.returncode) == ("cleaned up\n", 0)


def test_one_that_python_drops_in_a_destructor_is_asked_again():
    done = run("""
class Slow:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass
end_on_signals()
try:
    Slow()
    signal.pause()
except Terminated:
    print("ended")
""")
    assert (done.stdout, done.stderr) == ("ended\n", "")


def test_other_exceptions_in_destructors_are_shown_as_ever():
    done = run("""
class Bad:
    def __del__(self):
        raise ValueError("shown")
end_on_signals()
Bad()
""")
    assert "ValueError: shown" in done.stderr


def test_what_nohup_ignores_stays_ignored():
    code = "end_on_signals(); os.kill(os.getpid(), signal.SIGHUP); print('goes on')"
    done = run(code, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    assert done.stdout == "goes on\n"


def test_a_forked_process_ends_at_once():
    done = run("""
end_on_signals()
child = os.fork()
if child == 0:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()
    finally:
        print("cleaned up what is the parent's", flush=True)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert done.stdout == "143\n", done.stderr


def test_a_run_is_stopped_by_the_first_signal_and_interrupted_by_a_second_ctrl_c():
    before = signal.getsignal(signal.SIGTERM)
    with stop_signals() as received:
        for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGHUP):  # `timeout` sends two
            os.kill(os.getpid(), number)
        assert received == [signal.SIGTERM, signal.SIGTERM, signal.SIGHUP]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_exit_code_is_the_signal_s():
    assert Stopped("saved").exit_code == 130
    assert Stopped("saved", signal.SIGTERM).exit_code == 143
