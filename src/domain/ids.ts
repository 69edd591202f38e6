/** Names. The backend-side name derives from sandbox id and epoch, so a lost answer is a question, not a leak. */

const ALPHABET = '0123456789abcdefghjkmnpqrstvwxyz';
const SANDBOX_ID_LENGTH = 10;
const SANDBOX_ID = new RegExp(`^[${ALPHABET}]{${SANDBOX_ID_LENGTH}}$`);
const BACKEND_NAME = new RegExp(`^sbx-([${ALPHABET}]{${SANDBOX_ID_LENGTH}})(?:-e([1-9][0-9]{0,8}))?$`);

/** Random bytes as Crockford base 32, one character a byte (5 of its 8 bits). */
export function base32(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => ALPHABET[byte & 31]).join('');
}

/** 50 random bits: two among a million live ones collide once in two thousand; the store refuses a twin. */
export function sandboxId(randomBytes: Uint8Array): string {
  return base32(randomBytes.subarray(0, SANDBOX_ID_LENGTH));
}

export const SANDBOX_ID_BYTES = SANDBOX_ID_LENGTH;

export function isSandboxId(text: string): boolean {
  return SANDBOX_ID.test(text);
}

/** `sbx-<id>` for the first incarnation, `sbx-<id>-e2` and on for later ones. */
export function backendName(id: string, epoch: number): string {
  return epoch === 1 ? `sbx-${id}` : `sbx-${id}-e${epoch}`;
}

export interface BackendIdentity {
  readonly sandboxId: string;
  readonly epoch: number;
}

/** The inverse of `backendName`; null for a name outside our space. */
export function parseBackendName(name: string): BackendIdentity | null {
  const match = BACKEND_NAME.exec(name);
  if (match === null) return null;
  return { sandboxId: match[1]!, epoch: match[2] === undefined ? 1 : Number(match[2]) };
}
