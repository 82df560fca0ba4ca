"""A camera that speaks HTTP, as those on a network do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

RATE = 50


@contextmanager
def camera(images: list[np.ndarray]) -> Iterator[str]:
    """The address of one that sends some images, `RATE` a second, with a password in it."""

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
            self.end_headers()
            for image in images:
                jpeg = cv2.imencode(".jpg", image)[1].tobytes()
                head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                try:
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                except ConnectionError:
                    return
                time.sleep(1 / RATE)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    try:
        yield f"http://me:secret@127.0.0.1:{server.server_port}/door.mjpg"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
