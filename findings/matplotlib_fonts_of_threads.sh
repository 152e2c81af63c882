#!/bin/sh
# matplotlib keeps its fonts for each thread that has drawn text: files stay open, and memory held, after the thread has
# ended. A server that draws plots of its visitors' videos in threads that come and go grows by some files and about a
# megabyte for each of them, until 64 sets are kept, which looks like a leak of its own. Draw in one thread that stays.
#
# Packages: matplotlib 3.11.2 and what it imports, on Linux. PYTHON has to be Python 3.11 or newer.
# Expected: as many open files of fonts after ten more threads as after the first, when all have ended. Seen: as many again
# for each of the ten; exit code 1 if that changes.
set -eu
python=${PYTHON:-python3}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m pip install --quiet --no-deps --target "$folder/packages" matplotlib==3.11.2 contourpy==1.3.3 cycler==0.12.1 \
    fonttools==4.68.0 kiwisolver==1.5.1 numpy==2.4.6 packaging==26.4 pillow==12.3.0 pyparsing==3.3.3 \
    python-dateutil==4.0.0
cd "$folder"
MPLCONFIGDIR="$folder" PYTHONPATH="$folder/packages" "$python" -W ignore - <<'END_PYTHON'
import io
import os
import sys
import threading

import matplotlib
from matplotlib.figure import Figure

assert "/packages/" in matplotlib.__file__, matplotlib.__file__


def draw():
    figure = Figure()
    figure.subplots().set_title("who does what when")
    figure.savefig(io.BytesIO(), format="png")


def open_fonts():
    links = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
    return sum("/fonts/" in os.readlink(link) for link in links if os.path.islink(link))


def after(count):
    """Open files of fonts after threads that were there together, drew one after the other, and have ended."""
    together, turn = threading.Barrier(count), threading.Lock()

    def work():
        together.wait()
        with turn:
            draw()
        together.wait()

    threads = [threading.Thread(target=work) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return open_fonts()


one, ten = after(1), after(10)
print(f"matplotlib {matplotlib.__version__}: {one} open files of fonts after one thread, {ten} after ten more")
sys.exit(not (one > 0 and ten >= 10 * one))
END_PYTHON
