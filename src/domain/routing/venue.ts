/** A venue: where a sandbox can be placed. An extension, and one of its hosts where it has hosts. */
export interface Venue {
  readonly extensionId: string;
  /** Null for a backend without hosts. */
  readonly host: string | null;
}

/** `ext.compose-ssh@build1`, or `ext.local`: the scope of slots and of what routing remembers. */
export function venueKey({ extensionId, host }: Venue): string {
  return host === null ? extensionId : `${extensionId}@${host}`;
}

/** The inverse of `venueKey`: the first `@` divides, for an extension id holds none. */
export function parseVenue(key: string): Venue {
  const at = key.indexOf('@');
  return at === -1
    ? { extensionId: key, host: null }
    : { extensionId: key.slice(0, at), host: key.slice(at + 1) };
}
