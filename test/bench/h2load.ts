/** Load on a gRPC method by h2load: the same framed request again and again, from one core. */
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { quantile } from './rows.js';

export type Load = { port: number; path: string; message: Uint8Array; calls: number; connections: number; streams: number };
export type LoadResult = { callsPerSecond: number; p50Ms: number; p99Ms: number };

/** Cores: the server under load is pinned to 0, the load to 1. */
export const SERVER_CORE = '0';
export const LOAD_CORE = '1';

export async function h2load(load: Load): Promise<LoadResult> {
  const directory = mkdtempSync(join(tmpdir(), 'portlease-h2load-'));
  try {
    const body = join(directory, 'request.bin');
    const log = join(directory, 'log.tsv');
    writeFileSync(body, framed(load.message));
    const argv = ['-c', LOAD_CORE, 'h2load', '-n', `${load.calls}`, '-c', `${load.connections}`, '-m', `${load.streams}`, '-t', '1', '-d', body, '--log-file', log,
      '-H', 'content-type: application/grpc', '-H', 'te: trailers', `http://127.0.0.1:${load.port}${load.path}`];
    const { stdout } = await promisify(execFile)('taskset', argv, { timeout: 120_000 });
    const rate = /finished in [^,]+, ([\d.]+) req\/s/.exec(stdout)?.[1];
    const done = /(\d+) succeeded, 0 failed, 0 errored/.exec(stdout)?.[1];
    if (rate === undefined || Number(done) !== load.calls) throw new Error(`h2load did not finish all ${load.calls} calls:\n${stdout}`);
    const times = readFileSync(log, 'utf8').trim().split('\n').map((line) => Number(line.split('\t')[2]) / 1_000);
    return { callsPerSecond: Number(rate), p50Ms: quantile(times, 0.5), p99Ms: quantile(times, 0.99) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

/** A gRPC message frame: not compressed, length, message. */
function framed(message: Uint8Array): Uint8Array {
  const frame = Buffer.alloc(5 + message.length);
  frame.writeUInt32BE(message.length, 1);
  frame.set(message, 5);
  return frame;
}
