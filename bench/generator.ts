/**
 * The load, from a process of its own: `node bench/generator.ts SOCKET RATE SECONDS PROFILE`. Open loop: requests leave
 * on schedule, whatever the answers do, and each is timed from when it was due, so that what waits unsent counts too.
 * A timer, not a busy loop, keeps the schedule: the server has its cores, and a time is up to 1 ms too long. How far
 * the sending was behind is told beside the times. Prints both as JSON.
 */
import { SocketClient } from './kit/http.ts';
import { createSandbox } from './kit/sandboxes.ts';

const [socket, rateText, secondsText, profile] = process.argv.slice(2) as [string, string, string, string];
const perSecond = Number(rateText);
const total = Math.round(perSecond * Number(secondsText));
const client = new SocketClient(socket);
const valuesMs: number[] = [];
const behindMs: number[] = [];
let failed = 0;
let firstFailure: string | null = null;
let sent = 0;
let answered = 0;
const beganAtMs = performance.now() + 50;

async function one(dueAtMs: number): Promise<void> {
  try {
    await createSandbox(client, profile);
    valuesMs.push(performance.now() - dueAtMs);
  } catch (error) {
    failed += 1;
    firstFailure ??= String(error);
  }
  answered += 1;
  if (answered === total) finish();
}

function finish(): void {
  const tookMs = performance.now() - beganAtMs;
  process.stdout.write(JSON.stringify({ valuesMs, behindMs, failed, firstFailure, total, tookMs }), () =>
    process.exit(0),
  );
}

function tick(): void {
  for (;;) {
    const dueAtMs = beganAtMs + (sent * 1_000) / perSecond;
    const nowMs = performance.now();
    if (sent >= total || dueAtMs > nowMs) break;
    behindMs.push(nowMs - dueAtMs);
    void one(dueAtMs);
    sent += 1;
  }
  if (sent < total) setTimeout(tick, 1);
}

tick();
