/** A workspace on its host, file by file, and filled as a whole. */
import { pipeline } from 'node:stream/promises';
import { eachDone } from '../../domain/streams.ts';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostProcess } from '../../ports/host-link.ts';
import type { RestoredPart } from '../../ports/snapshot.ts';
import type { HostClient, Place } from './client.ts';
import { lastWords } from './errors.ts';
import { FILE_BYTES_MAX, insideWorkspace, notPlain, tooLarge, type WorkspaceFiles } from './repository.ts';

const WORDS_BYTES_MAX = 4_096;
const NOT_PLAIN = 67;
const NOT_THERE = 68;

/** Only while nothing runs that could change it. */
export function filesOnHost(client: HostClient, place: Place, signal: AbortSignal): WorkspaceFiles {
  return {
    async readFirst(paths) {
      const clean = paths.map(insideWorkspace);
      const { exitCode, stdout, stderr } = await client.readPlain(place, clean, FILE_BYTES_MAX + 1, signal);
      if (exitCode === NOT_THERE) return null;
      const end = stdout.indexOf('\n');
      const path = paths[Number(stdout.slice(0, end)) - 1];
      if (exitCode === NOT_PLAIN && path !== undefined) throw notPlain(path);
      if (exitCode !== 0 || path === undefined)
        throw new ExtensionError('transient', `The workspace could not be read: ${lastWords(stderr)}.`);
      const text = stdout.slice(end + 1);
      if (Buffer.byteLength(text) > FILE_BYTES_MAX) throw tooLarge(path);
      return { path, text };
    },
    linkIn: (paths) => client.findLink(place, paths, signal),
  };
}

/** What it has said to its standard error last. */
export function wordsOf(process: HostProcess): () => string {
  let said = '';
  process.stderr.on('data', (data: Buffer) => {
    said = (said + data.toString('utf8')).slice(-WORDS_BYTES_MAX);
  });
  return () => said;
}

export function tarError(doing: string, exitCode: number, said: string): ExtensionError {
  const kind = /no space left|quota exceeded/i.test(said) ? 'capacity' : 'transient';
  const words = lastWords(said) || 'no reason was given';
  return new ExtensionError(exitCode === 127 ? 'unsupported' : kind, `${doing} failed: ${words}.`);
}

/** Into the directory that is there. Everything belongs to whom the link logs in as, like what is uploaded. */
export async function unpackWorkspace(
  client: HostClient,
  place: Place,
  { open, reuse }: RestoredPart,
  signal: AbortSignal,
): Promise<void> {
  const command = ['tar', '-C', place.directory, '-xpf', '-', '--no-same-owner'];
  const tar = await client.link.start({ command, signal });
  const said = wordsOf(tar);
  tar.stdout.resume();
  try {
    const [fed, ended] = await Promise.allSettled([
      /* A stream that was given a whole piece asks for the next one when it has passed all of it on. */
      pipeline(eachDone(open(''), reuse), tar.stdin),
      tar.exit,
    ]);
    if (
      ended.status === 'fulfilled' &&
      ended.value !== 0 &&
      (fed.status === 'fulfilled' || isBroken(fed.reason))
    )
      throw tarError('Writing the workspace', ended.value, said());
    if (fed.status === 'rejected' && !isBroken(fed.reason)) throw fed.reason;
    if (ended.status === 'rejected') throw ended.reason;
    if (fed.status === 'rejected') throw fed.reason;
  } finally {
    tar.kill();
  }
}

function isBroken(error: unknown): boolean {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  return ['EPIPE', 'ECONNRESET', 'ERR_STREAM_PREMATURE_CLOSE', 'ERR_STREAM_DESTROYED'].includes(code);
}
