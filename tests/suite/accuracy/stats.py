"""Joins a room with the official SDK, takes all that is published, tells its own statistics.

    LIVEKIT_URL=… LIVEKIT_TOKEN=… stats.py

prints `joined` once audio and video have come; then, for each line of its standard input, one
line of JSON with the totals of its streams and of its selected candidate pair.
"""

import asyncio
import json
import os
import sys

from livekit import rtc


async def stats(room):
    streams, rtt = [], None
    both = await room.get_rtc_stats()
    # Which of the two takes is the SDK's own affair.
    for stat in (*both.publisher_stats, *both.subscriber_stats):
        kind = stat.WhichOneof("stats")
        if kind == "inbound_rtp":
            received = stat.inbound_rtp.received
            streams.append(
                {
                    "ssrc": stat.inbound_rtp.stream.ssrc,
                    "received": received.packets_received,
                    "lost": received.packets_lost,
                    "jitter_ms": received.jitter * 1e3,
                }
            )
        elif kind == "candidate_pair":
            pair = stat.candidate_pair.candidate_pair
            if pair.nominated:
                rtt = {
                    "total_ms": pair.total_round_trip_time * 1e3,
                    "responses": pair.responses_received,
                }
    return {"streams": streams, "rtt": rtt}


async def main():
    room = rtc.Room()
    await room.connect(os.environ["LIVEKIT_URL"], os.environ["LIVEKIT_TOKEN"])
    while True:
        streams = (await stats(room))["streams"]
        if sum(stream["received"] > 0 for stream in streams) >= 2:
            break
        await asyncio.sleep(0.05)
    print("joined", flush=True)
    loop = asyncio.get_running_loop()
    while await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await stats(room)), flush=True)
    # The native library may abort in the interpreter's own shutdown.
    os._exit(0)


asyncio.run(main())
