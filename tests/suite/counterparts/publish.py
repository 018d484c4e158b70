"""Joins a room with the official SDK and publishes a moving picture and a tone.

    LIVEKIT_URL=… LIVEKIT_TOKEN=… publish.py

prints `published` once both tracks are, and goes on until its standard input ends.
"""

import asyncio
import os
import sys

import numpy as np
from livekit import rtc

WIDTH, HEIGHT, FPS, RATE = 640, 360, 20, 48_000


async def picture(source):
    bars = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    bars[:, :, 0] = np.linspace(0, 255, WIDTH, dtype=np.uint8)
    while True:
        bars = np.roll(bars, 8, axis=1)
        frame = rtc.VideoFrame(WIDTH, HEIGHT, rtc.VideoBufferType.RGBA, bars.tobytes())
        source.capture_frame(frame)
        await asyncio.sleep(1 / FPS)


async def tone(source):
    length = RATE // 100
    time = np.arange(length)
    while True:
        wave = (8_000 * np.sin(2 * np.pi * 440 * time / RATE)).astype(np.int16)
        await source.capture_frame(rtc.AudioFrame(wave.tobytes(), RATE, 1, length))
        time = time + length


async def main():
    room = rtc.Room()
    await room.connect(os.environ["LIVEKIT_URL"], os.environ["LIVEKIT_TOKEN"])
    video, audio = rtc.VideoSource(WIDTH, HEIGHT), rtc.AudioSource(RATE, 1)
    playing = [asyncio.ensure_future(picture(video)), asyncio.ensure_future(tone(audio))]
    options = rtc.TrackPublishOptions(
        source=rtc.TrackSource.SOURCE_CAMERA, video_codec=rtc.VideoCodec.VP8, simulcast=True
    )
    await room.local_participant.publish_track(
        rtc.LocalVideoTrack.create_video_track("picture", video), options
    )
    await room.local_participant.publish_track(rtc.LocalAudioTrack.create_audio_track("tone", audio))
    print("published", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for task in playing:
        task.cancel()
    await room.disconnect()
    # The native library may abort in the interpreter's own shutdown.
    os._exit(0)


asyncio.run(main())
