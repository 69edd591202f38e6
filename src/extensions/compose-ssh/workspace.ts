/** A workspace on its host, file by file, and filled as a whole. */
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { ExtensionError } from '../../ports/extension.ts';
import type { HostProcess } from '../../ports/host-link.ts';
import type { HostClient, Place } from './client.ts';
import { lastWords } from './errors.ts';
import { FILE_BYTES_MAX, insideWorkspace, notPlain, tooLarge, type WorkspaceFiles } from './repository.ts';

const WORDS_BYTES_MAX = 4_096;
const NOT_PLAIN = 67;
const NOT_THERE = 68;

/** Only while nothing runs that could change it. */
export function filesOnHost(client: HostClient, place: Place, signal: AbortSignal): WorkspaceFiles {
  return {
    async read(path) {
      const clean = insideWorkspace(path);
      const { exitCode, stdout, stderr } = await client.readPlain(place, clean, FILE_BYTES_MAX + 1, signal);
      if (exitCode === NOT_THERE) return null;
      if (exitCode === NOT_PLAIN) throw notPlain(path);
      if (exitCode !== 0)
        throw new ExtensionError('transient', `${path} could not be read: ${lastWords(stderr)}.`);
      if (Buffer.byteLength(stdout) > FILE_BYTES_MAX) throw tooLarge(path);
      return stdout;
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
  content: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): Promise<void> {
  const command = ['tar', '-C', place.directory, '-xpf', '-', '--no-same-owner'];
  const tar = await client.link.start({ command, signal });
  const said = wordsOf(tar);
  tar.stdout.resume();
  try {
    const [fed, ended] = await Promise.allSettled([
      pipeline(Readable.from(content, { objectMode: false }), tar.stdin),
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
