/** A backend that does nothing at once: what is left of a create's time is the broker's own. */
import type { Capabilities, CreateExtension, Extension, Handle, Reference } from '../src/ports/extension.ts';

const STUB_ID = 'ext.stub';

const CAPABILITIES: Capabilities = {
  isolationLevels: ['process'],
  regions: ['local'],
  persistence: 'ephemeral',
  pricingModel: 'self-hosted',
  network: { deny: 'enforced', egressList: 'unsupported', allow: 'unsupported' },
  limits: { memory: 'enforced', cpu: 'enforced', processes: 'enforced' },
  sessions: false,
  snapshots: false,
  ownDeadline: false,
  pause: false,
  meter: false,
  hostTelemetry: false,
  hosts: false,
};

const HANDLE: Handle = { version: 1, data: {} };
const REACHABILITY = {
  ssh: null,
  remote_dir: null,
  host: 'localhost',
  compose_project: null,
  tunnel: null,
  tunnel_via: null,
  identity: null,
  ports: [],
  exec: false,
};

class StubExtension implements Extension {
  readonly id = STUB_ID;
  readonly title = 'Nothing';
  readonly description = 'Answers at once.';
  readonly #gone = new Set<string>();

  async capabilities() {
    return CAPABILITIES;
  }

  async health() {
    return { ok: true, reason: null };
  }

  async validate() {
    return { degradations: [] };
  }

  async estimate() {
    return { priceMicroUsdPerHour: 0, totalMicroUsd: 0 };
  }

  async provision() {
    return HANDLE;
  }

  /** Everything is there unless it was destroyed, so records made without it look alive too. */
  async observe(reference: Reference) {
    if (this.#gone.delete(reference.name)) return { kind: 'absent' as const, proof: 'it was destroyed' };
    return {
      kind: 'present' as const,
      state: 'running' as const,
      handle: HANDLE,
      activity: null,
      detail: null,
    };
  }

  async list() {
    return { items: [], nextCursor: null, complete: true };
  }

  async destroy(reference: Reference) {
    this.#gone.add(reference.name);
  }

  async reachability() {
    return REACHABILITY;
  }

  async close() {}
}

const createExtension: CreateExtension = async () => new StubExtension();

/** As it is installed. */
export const STUB = {
  summary: { id: STUB_ID, title: 'Nothing', description: 'Answers at once.', endsWithMachine: true },
  load: async () => ({ createExtension }),
};
