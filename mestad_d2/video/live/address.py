"""Open an address that the user gave; no file, list or redirection can name another kind of place."""

from __future__ import annotations

import re

import av

from mestad_d2.errors import UserError
from mestad_d2.video.decode.container import FORMATS, av_open, reason

_ADDRESS = re.compile(r"(rtsps?|https?)://\S+", flags=re.I)
# Up to the last @ of the host: cameras take passwords with an @ in them.
_PASSWORD = re.compile(r"(?<=://)[^/\s]*@")
_SECRET = re.compile(r"(?<=[?&_/;])(pass|passwd|password|pwd|token|secret|auth)=[^?&_/;\s]*", flags=re.I)
# FFmpeg's protocols by the kind of an address; never "file".
PROTOCOLS = {
    "http": "http,https,tcp,tls",
    "https": "http,https,tcp,tls",
    "rtsp": "rtsp,rtp,udp,tcp",
    "rtsps": "rtsps,rtsp,rtp,udp,tcp,tls",
}
# Seconds to wait for a connection and for the next packet.
TIMEOUT = 10.0


def is_address(place: object) -> bool:
    """Return whether an input is an address of the network (``rtsp://`` or ``http(s)://``)."""
    return _ADDRESS.fullmatch(str(place)) is not None


def shown_address(address: str) -> str:
    """Return an address without the name and password in it, for messages and results; other text as it is."""
    return without_passwords(address) if is_address(address) else address


def without_passwords(text: str) -> str:
    """Return a text without the names and passwords of addresses in it, as ``rtsp://me:secret@host`` has them."""
    return _SECRET.sub(r"\1=***", _PASSWORD.sub("", text))


def open_address(address: str, timeout: float = TIMEOUT) -> av.container.InputContainer:
    """Open an address in one of ``FORMATS``; playlists are refused, as they name other addresses.

    Raises:
        UserError: nobody answers, or what comes is no video.
    """
    protocol = address.partition("://")[0].lower()
    options = {
        "protocol_whitelist": PROTOCOLS[protocol],
        "format_whitelist": f"{FORMATS},rtsp" if protocol.startswith("rtsp") else FORMATS,
        # Over TCP no part of a picture is lost on the way.
        "rtsp_transport": "tcp",
    }
    try:
        return av_open(address, options=options, timeout=(timeout, timeout))
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(
            f"{shown_address(address)}: no video comes from this address ({reason(error)}); give that of a file or "
            "stream itself, not of a page or playlist"
        ) from error
