"""Open a media file, never files that it refers to: the accepted formats and the choice of the video stream."""

from __future__ import annotations

import os
from typing import Any

import av
from av.stream import Disposition

from mestad_d2.errors import UserError

# Containers that hold their media themselves. Playlists and the like (hls, dash, concat, sdp) are left out, as they
# refer to other files and addresses of their author's choice.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,live_flv,asf,asf_o,ogg,nut,mxf,gxf,wtv,"
    "rm,nsv,ivf,ivr,obu,av1,h264,hevc,vvc,m4v,mjpeg,mjpeg_2000,mpjpeg,smjpeg,vc1,vc1test,dv,dirac,dnxhd,h261,h263,"
    "avs2,avs3,cavsvideo,dhav,kux,lmlm4,iv8,ty,yuv4mpegpipe,gif,apng,flic,swf,r3d,ea,film_cpk,roq,smk,bink,4xm,nuv,"
    "pva,vividas,vivo,xmv,cine,ser,jpeg_pipe,png_pipe,webp_pipe,bmp_pipe,tiff_pipe,wav,w64,aiff,caf,mp3,aac,ac3,flac"
)
# A decoder refuses larger pictures, in pixels: 8192 x 4608.
MAX_PIXELS = 8192 * 4608


def av_open(place: str, **arguments: Any) -> av.container.InputContainer:
    """Call ``av.open`` so that text in the file that is no UTF-8 is no error, with every version of PyAV."""
    try:
        return av.open(place, metadata_errors="ignore", **arguments)
    except TypeError:
        # PyAV 19 has no such argument.
        return av.open(place, **arguments)


def open_media(path: str | os.PathLike[str]) -> av.container.InputContainer:
    """Open a media file, in one of ``FORMATS`` and by the file protocol alone.

    Raises:
        UserError: no such file, or no media file.
    """
    if not os.path.isfile(path):
        raise UserError(f"{path}: no such video file or folder of frames")
    options = {"protocol_whitelist": "file", "format_whitelist": FORMATS}
    try:
        # An absolute path, since FFmpeg takes the text before a colon for a protocol.
        return av_open(os.path.abspath(path), options=options)
    except (av.FFmpegError, OSError, ValueError) as error:
        raise UserError(f"{path}: no video that can be read ({reason(error)})") from error


def open_video(
    path: str | os.PathLike[str], number: int | None = None
) -> tuple[av.container.InputContainer, av.VideoStream]:
    """Open a video file and choose its picture.

    Args:
        path: of the file.
        number: which of the picture streams, from 0; None: the best one that is no cover picture.

    Raises:
        UserError: no such file, no media file, or one without such a picture stream.
    """
    container = open_media(path)
    try:
        stream = _picture(container, path, number)
    except UserError:
        container.close()
        raise
    # The picture size may grow within the video; the decoder itself refuses sizes above the limit.
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return container, stream


def _picture(
    container: av.container.InputContainer, path: str | os.PathLike[str], number: int | None
) -> av.VideoStream:
    streams = container.streams.video
    if number is not None:
        if not 0 <= number < len(streams):
            raise UserError(
                f"{path}: no picture stream {number}, there are {len(streams)}; count them from 0"
            )
        streams = [streams[number]]
    else:
        streams = [stream for stream in streams if not stream.disposition & Disposition.attached_pic]
    if not streams:
        raise UserError(f"{path}: no picture in this file; give a video")
    readable = [stream for stream in streams if stream.codec_context is not None]
    if not readable:
        raise UserError(f"{path}: coded in a way that this FFmpeg can't read; encode it as h264")
    # As FFmpeg and players choose: what the file marks as its default, then the largest.
    return max(readable, key=lambda s: (bool(s.disposition & Disposition.default), s.width * s.height))


def reason(error: Exception) -> str:
    """Return the first line of an error's message."""
    return str(getattr(error, "strerror", None) or error).strip().splitlines()[0]
