/** Files to move, and the proof that they arrived. */
import { spawn } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';

const BLOCK_BYTES = 1024 * 1024;

export async function writeRandomFile(path: string, bytes: number): Promise<void> {
  const file = await open(path, 'w');
  try {
    const block = randomBytes(BLOCK_BYTES);
    for (let left = bytes; left > 0; left -= BLOCK_BYTES) {
      block.writeUInt32LE(left >>> 0, 0); // no two blocks are the same
      await file.write(block.subarray(0, Math.min(left, BLOCK_BYTES)));
    }
  } finally {
    await file.close();
  }
}

export function writeSmallFiles(directory: string, count: number, bytes: number): void {
  mkdirSync(directory, { recursive: true });
  for (let index = 0; index < count; index += 1) {
    writeFileSync(join(directory, `file-${String(index).padStart(6, '0')}`), randomBytes(bytes));
  }
}

export async function hashOfFile(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

/** Of names and contents below the working directory; the same text runs inside and outside. */
export const TREE_HASH = 'find . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum | cut -c1-64';

export function shell(script: string, ...words: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('sh', ['-c', script, 'sh', ...words], { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve(text.trim()) : reject(new Error(`sh ended with ${code}`)),
    );
  });
}
