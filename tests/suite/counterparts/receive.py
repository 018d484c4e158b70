"""Joins a room with the official SDK, decodes what is published there, prints what it saw.

    LIVEKIT_URL=… LIVEKIT_TOKEN=… receive.py SECONDS QUALITY=WIDTHxHEIGHT…

asks for one quality after the other, watches each for SECONDS once it comes in its size, and
prints one line of JSON: {"video": {QUALITY: {…}}, "audio": {…}}.
"""

import asyncio
import json
import os
import sys
import time

import numpy as np
from livekit import rtc

PATIENCE = 20  # seconds to wait for anything that is to come


class Watched:
    """What came of one track since `restart`."""

    def __init__(self):
        self.restart()

    def restart(self):
        self.since = time.monotonic()
        self.count = 0
        self.size = None
        self.looks = set()
        self.variances = []
        self.squares = []

    def video(self, frame):
        if (frame.width, frame.height) != self.size:
            self.restart()
            self.size = (frame.width, frame.height)
        self.count += 1
        luma = np.frombuffer(frame.get_plane(0), dtype=np.uint8)[::37]
        self.looks.add(luma.tobytes())
        self.variances.append(float(luma.var()))

    def audio(self, frame):
        self.count += 1
        samples = np.frombuffer(frame.data, dtype=np.int16).astype(np.float64)
        self.squares.append(float((samples * samples).mean()))

    def seconds(self):
        return time.monotonic() - self.since


async def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            return False
        await asyncio.sleep(0.05)
    return True


async def follow(stream, take):
    async for event in stream:
        take(event.frame)


async def main():
    seconds = float(sys.argv[1])
    wanted = [argument.split("=") for argument in sys.argv[2:]]
    room, video, audio, tasks = rtc.Room(), Watched(), Watched(), []
    publication = None

    def subscribed(track, remote, participant):
        nonlocal publication
        if track.kind == rtc.TrackKind.KIND_VIDEO:
            publication = remote
            i420 = rtc.VideoBufferType.I420
            tasks.append(follow(rtc.VideoStream(track, format=i420), video.video))
        else:
            tasks.append(follow(rtc.AudioStream(track), audio.audio))
        tasks[-1] = asyncio.ensure_future(tasks[-1])

    room.on("track_subscribed", subscribed)
    await room.connect(os.environ["LIVEKIT_URL"], os.environ["LIVEKIT_TOKEN"])
    result = {"video": {}, "audio": None}
    if not await until(lambda: video.count and audio.count):
        result["missing"] = [kind for kind, w in (("video", video), ("audio", audio)) if not w.count]
    audio.restart()
    for quality, size in wanted if publication else []:
        size = tuple(int(side) for side in size.split("x"))
        publication.set_video_quality(getattr(rtc.VideoQuality, f"VIDEO_QUALITY_{quality.upper()}"))
        came = await until(lambda: video.size == size)
        if came:
            video.restart()
            video.size = size
            await asyncio.sleep(seconds)
        result["video"][quality] = {
            "width": video.size[0],
            "height": video.size[1],
            "frames": video.count,
            "seconds": video.seconds(),
            "distinct": len(video.looks),
            "least_variance": min(video.variances, default=0),
        }
    if audio.count:
        mean_square = sum(audio.squares) / len(audio.squares)
        result["audio"] = {"rms": mean_square**0.5, "seconds": audio.seconds(), "frames": audio.count}
    print(json.dumps(result), flush=True)
    # The native library may abort in the interpreter's own shutdown.
    os._exit(0)


asyncio.run(main())
