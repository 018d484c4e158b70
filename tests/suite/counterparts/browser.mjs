// Opens a room in headless Chromium with the official livekit-client and prints what it saw.
//
//     LIVEKIT_URL=… LIVEKIT_TOKEN=… node browser.mjs CHROMIUM NODE_MODULES SECONDS
//
// prints one line of JSON: {"videos": […], "audios": […]}, or {"error": …}.

import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import http from "node:http";
import os from "node:os";
import path from "node:path";

const [chromium, modules, seconds] = process.argv.slice(2);
const client = await readFile(path.join(modules, "livekit-client/dist/livekit-client.umd.js"));

// Runs in the page.
async function watch({ url, token, seconds }) {
  const { Room } = LivekitClient;
  const room = new Room({ adaptiveStream: false });
  const attached = [];
  room.on("trackSubscribed", (track) => {
    const element = track.attach();
    document.body.append(element);
    attached.push({ track, element });
  });
  await room.connect(url, token);
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  const of = (kind) => attached.filter(({ track }) => track.kind === kind);
  const playing = ({ element }) => element.currentTime > 0;
  for (let i = 0; i < 200 && !["video", "audio"].every((k) => of(k).some(playing)); i++) await wait(100);

  // How much a coarse copy of the picture varies over its area.
  const canvas = new OffscreenCanvas(64, 36).getContext("2d", { willReadFrequently: true });
  const look = (video) => {
    canvas.drawImage(video, 0, 0, 64, 36);
    const { data } = canvas.getImageData(0, 0, 64, 36);
    return Array.from(data).filter((_, at) => at % 4 !== 3); // without alpha
  };
  const variance = (values) => {
    const mean = values.reduce((a, b) => a + b, 0) / values.length;
    return values.reduce((a, b) => a + (b - mean) ** 2, 0) / values.length;
  };
  const frames = (element) => element.getVideoPlaybackQuality().totalVideoFrames;
  const seen = of("video").map(({ element }) => ({ element, from: frames(element), looks: new Set() }));
  for (let i = 0; i < 10; i++) {
    await wait(seconds * 100);
    for (const { element, looks } of seen) looks.add(look(element).join());
  }
  const videos = seen.map(({ element, from, looks }) => ({
    width: element.videoWidth,
    height: element.videoHeight,
    frames: frames(element) - from,
    variance: variance(look(element)),
    distinct: looks.size, // of ten
  }));
  const audios = [];
  for (const { track } of of("audio")) {
    for (const report of (await track.getRTCStatsReport()).values()) {
      if (report.type !== "inbound-rtp") continue;
      const { totalAudioEnergy, totalSamplesDuration, totalSamplesReceived, concealedSamples } = report;
      audios.push({
        rms: Math.sqrt(totalAudioEnergy / totalSamplesDuration),
        concealed: concealedSamples / totalSamplesReceived,
      });
    }
  }
  await room.disconnect();
  return { videos, audios };
}

const settings = JSON.stringify({
  url: process.env.LIVEKIT_URL,
  token: process.env.LIVEKIT_TOKEN,
  seconds: Number(seconds),
});
const page = `<!doctype html><body><script src="/client.js"></script><script>
(${watch})(${settings}).catch((e) => ({ error: String(e) }))
  .then((result) => fetch("/result", { method: "POST", body: JSON.stringify(result) }));
</script>`;

let done;
const result = new Promise((resolve) => (done = resolve));
const server = http.createServer(async (request, response) => {
  if (request.url === "/result") {
    const parts = [];
    for await (const part of request) parts.push(part);
    response.end();
    done(Buffer.concat(parts).toString());
  } else {
    const script = request.url === "/client.js";
    response.setHeader("content-type", script ? "text/javascript" : "text/html");
    response.end(script ? client : page);
  }
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));

const profile = await mkdtemp(path.join(os.tmpdir(), "muster-chromium-"));
const browser = spawn(
  chromium,
  [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--mute-audio",
    "--allow-loopback-in-peer-connection",
    "--autoplay-policy=no-user-gesture-required",
    `--user-data-dir=${profile}`,
    `http://127.0.0.1:${server.address().port}/`,
  ],
  { stdio: "ignore" },
);
browser.on("error", (e) => done(JSON.stringify({ error: String(e) })));
browser.on("exit", (code) => done(JSON.stringify({ error: `chromium ended with ${code}` })));
setTimeout(() => done(JSON.stringify({ error: "no result in time" })), 60_000 + seconds * 1000);

console.log(await result);
browser.kill();
server.close();
await new Promise((resolve) => (browser.exitCode === null ? browser.on("exit", resolve) : resolve()));
await rm(profile, { recursive: true, force: true, maxRetries: 5 });
process.exit(0);
