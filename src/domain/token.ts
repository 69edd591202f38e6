/** API tokens read `sbx_<id>_<secret>`. Only a hash of the secret is stored; the id finds it. */
const TOKEN = /^sbx_([0-9a-z]{8})_([0-9a-z]{40})$/;

export const TOKEN_ID_BYTES = 8;
export const TOKEN_SECRET_BYTES = 40;

export interface PresentedToken {
  readonly id: string;
  readonly secret: string;
}

export function formatToken(id: string, secret: string): string {
  return `sbx_${id}_${secret}`;
}

export function parseToken(text: string): PresentedToken | null {
  const match = TOKEN.exec(text);
  return match === null ? null : { id: match[1]!, secret: match[2]! };
}
