"""Lifelines over real sockets: a server lives exactly as long as somebody holds it."""

import os
import socket
import stat
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmroute.model import Secret
from lmroute.providers.embedded.lease import Lease, Plan, read_lease, write_lease
from lmroute.providers.embedded.lifeline import take_hold
from lmroute.providers.embedded.serve import OTHERS, Holders, threads

KEY = "k" * 64


class Attended:
    """``Holders`` behind a port; ``left`` is set where the real server would end its process."""

    def __init__(self):
        self.left = threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        holders = Holders(KEY.encode(), self.left.set)
        threading.Thread(target=self._attend, args=(holders,), daemon=True).start()

    def _attend(self, holders):
        try:
            holders.attend(self.listener)
        except OSError:
            return  # the test is over

    def lease(self, key=KEY):
        return Lease(1, "http://127.0.0.1:1", self.listener.getsockname()[1], Secret(key))


@pytest.fixture
def server():
    attended = Attended()
    yield attended
    attended.listener.shutdown(socket.SHUT_RDWR)
    attended.listener.close()


def test_the_server_stays_for_the_second_holder_and_leaves_after_the_last(server):
    first, second = take_hold(server.lease()), take_hold(server.lease())
    assert not first.release()  # the server said that there are others
    assert not server.left.is_set()
    assert second.is_alive()
    second.release()
    assert server.left.wait(10)


def test_a_holder_that_dies_without_a_word_counts_as_gone(server):
    lifeline = take_hold(server.lease())
    lifeline._connection.close()  # what the kernel does for a killed process
    assert server.left.wait(10)


def test_who_has_not_the_key_holds_nothing(server):
    holder = take_hold(server.lease())
    assert take_hold(server.lease("wrong")) is None
    with socket.create_connection(("127.0.0.1", server.lease().port), timeout=10) as silent:
        silent.shutdown(socket.SHUT_WR)
        assert silent.recv(100) == b""
    assert not server.left.is_set()
    holder.release()
    assert server.left.wait(10)


def test_a_port_that_somebody_else_has_now_is_no_server():
    with socket.create_server(("127.0.0.1", 0)) as stranger:

        def chat():
            connection, _ = stranger.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=chat)
        thread.start()
        assert take_hold(Lease(1, "", stranger.getsockname()[1], Secret(KEY))) is None
        thread.join()
        free = stranger.getsockname()[1]
    assert take_hold(Lease(1, "", free, Secret(KEY))) is None


def test_a_lifeline_notices_the_servers_death():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepted = []

        def greet():
            connection, _ = listener.accept()
            connection.recv(100)
            connection.sendall(b"held\n")
            accepted.append(connection)

        thread = threading.Thread(target=greet)
        thread.start()
        lifeline = take_hold(Lease(1, "", listener.getsockname()[1], Secret(KEY)))
        thread.join()
        assert lifeline.is_alive()
        accepted[0].close()
        lifeline._connection.settimeout(10)
        assert lifeline._connection.recv(1) == b""  # wait for the news to arrive
        assert not lifeline.is_alive()
        assert lifeline.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_copy_does_not_hang_up_its_parents_line(server):
    lifeline = take_hold(server.lease())
    child = os.fork()
    if not child:
        os._exit(lifeline.release())
    assert os.waitpid(child, 0)[1] == 0
    assert lifeline.is_alive()
    assert not server.left.is_set()
    lifeline.release()
    assert server.left.wait(10)


def test_the_goodbye_fits_what_a_holder_reads():
    assert 0 < len(OTHERS) <= 16


def test_a_lease_is_for_this_user_only_and_comes_back_whole(tmp_path):
    lease, path = Lease(7, "http://127.0.0.1:8", 9, Secret("s3cret-key")), tmp_path / "lease.json"
    write_lease(path, lease)
    back = read_lease(path)
    assert (back.pid, back.base_url, back.port, back.api_key.reveal()) == (7, lease.base_url, 9, "s3cret-key")
    assert "s3cret-key" not in repr(back)
    assert [each.name for each in tmp_path.iterdir()] == ["lease.json"]
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"pid": 1}', '{"pid": "x", "port": 1, "api_key": "abcdefg"}']
)
def test_a_lease_that_cannot_be_read_is_no_lease(tmp_path, content):
    path = tmp_path / "lease.json"
    path.write_text(content)
    assert read_lease(path) is None
    assert read_lease(tmp_path / "none.json") is None


def test_a_server_is_another_one_when_file_name_or_window_change(tmp_path):
    model = tmp_path / "m.gguf"
    model.write_bytes(b"one")
    plan = Plan(model, "m", 4096)
    seen = {plan.identity(), Plan(model, "m", 2048).identity(), Plan(model, "n", 4096).identity()}
    assert plan.identity() == Plan(model, "m", 4096).identity()
    os.utime(model, ns=(1, 1))
    seen.add(plan.identity())
    assert len(seen) == 4


@given(size=st.integers(0, 2**40))
def test_threads_are_sane_for_weights_of_any_size(size):
    generating, reading = threads(size)
    assert 1 <= generating <= reading <= (os.cpu_count() or 1)


def test_a_small_model_generates_on_one_thread():
    assert threads(98_362_432)[0] == 1
