/** Which hosts come into question for a request, in which order, and why the others do not. Pure. */

export interface PlacementRequest {
  /** The one host asked for, and who asked. */
  readonly asked: { readonly host: string; readonly by: string } | null;
  /** Of the profile, in order. */
  readonly prefer: readonly string[];
  readonly fallback: readonly string[];
  readonly registered: readonly string[];
}

export interface Placement {
  readonly host: string;
  /** Lower comes first; equal ones are told apart by load, room and name. */
  readonly rank: number;
  /** A sentence without its full stop, or null when it may be tried. */
  readonly leftOut: string | null;
}

/** The hosts a profile is for, each with its rank; all that are registered where it names none. */
function hostsOfProfile({ prefer, fallback, registered }: PlacementRequest): Omit<Placement, 'leftOut'>[] {
  const named = [...new Set([...prefer, ...fallback])];
  if (named.length > 0) return named.map((host, rank) => ({ host, rank }));
  return registered.map((host) => ({ host, rank: 0 }));
}

/** Every host that the request or the profile brings into question, once. */
export function placeHosts(request: PlacementRequest): readonly Placement[] {
  const { asked, registered } = request;
  const why = (host: string): string | null => {
    if (asked !== null && asked.host !== host) return `${asked.by} names another host`;
    return registered.includes(host) ? null : 'is not registered on this installation';
  };
  const hosts = hostsOfProfile(request);
  const all =
    asked === null
      ? hosts
      : [{ host: asked.host, rank: 0 }, ...hosts.filter(({ host }) => host !== asked.host)];
  return all.map((placement) => ({ ...placement, leftOut: why(placement.host) }));
}
