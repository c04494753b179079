"""Answers that are whole within a time: a timeout of the socket begins anew with every byte that drips in."""

import io
import time
from typing import Any

ANSWER_S = 60.0
"""Seconds in which an answer that has begun is to be whole."""
_PIECE = 1 << 16


class PunctualPool:
    """A pool of connections (urllib3) whose answers are read to their end within ANSWER_S."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def request(self, method: str, url: str, **how: Any) -> Any:
        """Make a request as the pool does; raises urllib3's ReadTimeoutError for an answer that takes too long."""
        from urllib3 import HTTPResponse
        from urllib3.exceptions import ReadTimeoutError

        answer = self._pool.request(method, url, **{**how, "preload_content": False})
        deadline, content = time.monotonic() + ANSWER_S, io.BytesIO()
        try:
            while piece := answer.read1(_PIECE, decode_content=False):
                content.write(piece)
                if time.monotonic() > deadline:
                    raise ReadTimeoutError(None, url, "Read timed out.")  # type: ignore[arg-type]
        except BaseException:
            answer.close()
            raise
        content.seek(0)
        return HTTPResponse(
            body=content, headers=answer.headers, status=answer.status, reason=answer.reason, request_method=method
        )
