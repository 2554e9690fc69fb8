"""Write without end into a store, telling each request before it is submitted and after it was acknowledged.

writer.py ADDRESS NAME [REQUEST ...]      the requests are submitted first: another writer left them unanswered
"""

import os
import sys
import threading
from itertools import count

from spamctl.store.capture import Capture
from tests.store.made_rows import rows

ROWS = 3
CLIENTS = 4


def submit(capture, request):
    os.write(1, f"submitted {request}\n".encode())  # one call: a kill cannot cut the line
    if capture.submit(rows(ROWS, request_id=request)).result():
        os.write(1, f"stored {request}\n".encode())


def client(capture, name):
    for number in count():
        submit(capture, f"{name}-{number}")


def main(address, name, *left):
    capture = Capture(address)
    for request in left:
        submit(capture, request)
    for number in range(CLIENTS):
        threading.Thread(target=client, args=(capture, f"{name}-{number}")).start()


if __name__ == "__main__":
    main(*sys.argv[1:])
