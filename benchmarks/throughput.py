"""What a readout of 32 coils x 256 samples costs on its way: wire, buffer gadget, coil compression, image gadget.

python benchmarks/throughput.py [--frames 150] [--quick]

CPU time on one thread, as the machine may have other work: a readout that costs 0.5 ms passes 2000 times a
second on one core. The floor of a part is what copying its bytes, or passing them through a socket, costs here.
"""

from __future__ import annotations

import os
import socket
import statistics
import threading
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before NumPy and torch are imported

import ismrmrd
import numpy as np
from options import Options
from results import Figure, at_least, at_most, machine, save, show

from inr_gadgets.buffering.buffer import BufferGadget
from inr_gadgets.frame import Frame
from inr_gadgets.header import parse_header
from inr_gadgets.imaging.geometry import image_for
from inr_gadgets.imaging.image import ImageGadget
from inr_gadgets.wire.connection import Connection
from inr_gadgets.wire.limits import ServerLimits
from inr_gadgets.wire.messages import Close
from inr_gadgets.wire.wire_format import serialise

COILS, SAMPLES, SPOKES, MATRIX, VIRTUAL = 32, 256, 13, 128, 8
_REPEATS = 5  # of each measurement; the median counts
_HEADER = f"""<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>123200000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>{SAMPLES}</x><y>{MATRIX}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>600</x><y>300</y><z>8</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{MATRIX}</x><y>{MATRIX}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>300</x><y>300</y><z>8</z></fieldOfView_mm></reconSpace>
<encodingLimits/><trajectory>goldenangle</trajectory></encoding>
<sequenceParameters><TR>1.5</TR></sequenceParameters></ismrmrdHeader>"""


def make_scan(n_frames: int) -> list[Any]:
    """A noise scan of correlated coils, so that whitening has work, and frames of golden-angle spokes."""
    rng = np.random.default_rng(1)

    def samples() -> np.ndarray:
        white = rng.standard_normal((2, COILS, SAMPLES)).astype(np.float32)
        return np.asarray(mixing @ (white[0] + 1j * white[1]), np.complex64)

    mixing = np.eye(COILS) + 0.3 * rng.standard_normal((COILS, COILS)) / COILS**0.5
    items = []
    for number in range(-8, n_frames * SPOKES):
        readout = ismrmrd.Acquisition.from_array(samples(), sample_time_us=2.0, center_sample=SAMPLES // 2)
        readout.scan_counter = readout.acquisition_time_stamp = max(number, 0)
        readout.read_dir[:], readout.phase_dir[:], readout.slice_dir[:] = (1, 0, 0), (0, 1, 0), (0, 0, 1)
        if number < 0:
            readout.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        else:
            readout.idx.repetition, readout.idx.kspace_encode_step_1 = number // SPOKES, number % SPOKES
        items.append(readout)
    return items


def cpu_s(work: Callable[[], None]) -> float:
    """CPU seconds that this thread spends on some work, the median of several times."""
    spent = []
    for _ in range(_REPEATS):
        begun = time.thread_time()
        work()
        spent.append(time.thread_time() - begun)
    return statistics.median(spent)


class Feed:
    """A socket that another thread fills, or empties."""

    def __init__(self, other: Callable[[socket.socket], None]) -> None:
        self.ours, theirs = socket.socketpair()
        for sock in (self.ours, theirs):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self._thread = threading.Thread(target=self._run, args=(other, theirs), daemon=True)
        self._thread.start()

    def _run(self, other: Callable[[socket.socket], None], sock: socket.socket) -> None:
        with sock:
            other(sock)

    def close(self) -> None:
        """End both sides."""
        self.ours.close()
        self._thread.join()


def take_all(sock: socket.socket) -> None:
    """Read to the end without looking."""
    memory = bytearray(1 << 18)
    while sock.recv_into(memory):
        pass


def wire_figures(scan: list[Any]) -> list[Figure]:
    """Decoding readouts and encoding images, with sending and receiving."""
    stream = b"".join(map(serialise, scan)) + Close().pack()
    image = ismrmrd.Image.from_array(np.ones((256, 256), np.float32), transpose=False)
    n_images = 300
    n_bytes = n_images * len(serialise(image))

    def received(read: Callable[[socket.socket], None]) -> Callable[[], None]:
        def work() -> None:
            feed = Feed(lambda sock: sock.sendall(stream))
            read(feed.ours)
            feed.close()

        return work

    def sent(send: Callable[[socket.socket], None]) -> Callable[[], None]:
        def work() -> None:
            feed = Feed(take_all)
            send(feed.ours)
            feed.close()

        return work

    def send_images(sock: socket.socket) -> None:
        connection = Connection(sock, ServerLimits())
        for _ in range(n_images):
            connection.send(image)

    def decode(sock: socket.socket) -> None:
        for _ in Connection(sock, ServerLimits()):
            pass

    decoding, receiving = cpu_s(received(decode)), cpu_s(received(take_all))
    encoding = cpu_s(sent(send_images))
    raw = serialise(image)
    sending = cpu_s(sent(lambda sock: [sock.sendall(raw) for _ in range(n_images)] and None))
    return [
        at_least("wire: readouts decoded, MB a CPU second", len(stream) / decoding / 1e6, 300),
        Figure("the same over receiving alone, factor of CPU time", decoding / receiving),
        Figure("a readout decoded, CPU us", 1e6 * decoding / len(scan)),
        at_least("wire: images encoded and sent, MB a CPU second", n_bytes / encoding / 1e6, 300),
        Figure("the same over sending alone, factor of CPU time", encoding / sending),
    ]


def gadget_figures(scan: list[Any]) -> list[Figure]:
    """Buffer, compression, image: the chain without its reconstruction."""
    header, frames, finished = parse_header(_HEADER), list[Frame](), list[Any]()
    n_readouts = sum(not one.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) for one in scan)

    def buffer() -> None:
        gadget = BufferGadget(header)
        gadget.announce = lambda line: None
        frames[:] = gadget.process(scan)

    buffering = cpu_s(buffer)
    rng = np.random.default_rng(2)
    array = (rng.standard_normal((MATRIX, MATRIX)) + 1j).astype(np.complex64)
    made = [image_for(frame, array, 1, number + 1, {"inr_frame": number}) for number, frame in enumerate(frames)]

    def image() -> None:
        gadget = ImageGadget(header)
        gadget.announce = lambda line: None
        finished[:] = gadget.process(made)

    imaging = cpu_s(image)
    stack = np.stack([one.data for one in scan])
    target = np.empty_like(stack)
    copying = cpu_s(lambda: np.copyto(target, stack)) * n_readouts / len(scan)
    both = (buffering + imaging) / n_readouts
    return [
        at_least("buffer and image gadgets, readouts a CPU second", 1 / both, 2000),
        at_most("the same, CPU ms a readout", 1e3 * both, 0.5),
        Figure("buffer gadget with whitening, CPU us a readout", 1e6 * buffering / n_readouts),
        Figure("the same over copying the samples once, factor", buffering / copying),
        Figure("image gadget, CPU us an image", 1e6 * imaging / len(made)),
        Figure(
            "coil compression 32 to 8 in the recon gadget, CPU us a readout", 1e6 * compression_s(frames) / n_readouts
        ),
    ]


def compression_s(frames: list[Frame]) -> float:
    """CPU seconds for compressing all frames to virtual coils, which the recon gadget does with each as it comes."""
    import torch

    from inr_core.solvers.calibration import Calibration

    torch.set_num_threads(1)
    calibration = Calibration(VIRTUAL, degree=1)
    samples = [torch.from_numpy(frame.kspace) for frame in frames]

    def compress() -> None:
        for one in samples:
            calibration.compress(one)

    compress()  # the first frame decides on the matrix
    return cpu_s(compress)


def main() -> None:
    """Measure, print, save."""
    parser = Options(__doc__)
    parser.add_argument("--frames", type=int, default=150, help="of 13 spokes")
    parser.add_quick("10 frames")
    arguments = parser.parse_args()
    described = machine()
    scan = make_scan(10 if arguments.quick else arguments.frames)
    figures = [*wire_figures(scan), *gadget_figures(scan)]
    name = f"{COILS} coils x {SAMPLES} samples, {SPOKES} spokes a frame, one thread"
    show(f"throughput: {name}", figures)
    path = save("throughput", described, name, figures, quick=arguments.quick)
    print(f"written to {path}")


if __name__ == "__main__":
    main()
