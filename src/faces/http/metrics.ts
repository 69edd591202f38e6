import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { Engine } from '../../engine/engine.ts';

/** Prometheus metrics, fed by what is committed; nothing here is asked of a backend. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #engine: Engine;
  readonly #live: Gauge;
  readonly #running: Gauge;
  readonly #requests: Histogram<'operation' | 'status'>;

  constructor(engine: Engine) {
    this.#engine = engine;
    const registers = [this.#registry];
    const transitions = new Counter({
      name: 'sandboxer_transitions_total',
      help: 'Events of sandboxes, by type',
      labelNames: ['type'],
      registers,
    });
    const ready = new Histogram({
      name: 'sandboxer_ready_seconds',
      help: 'From the request to ready',
      labelNames: ['extension'],
      buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 120],
      registers,
    });
    this.#live = new Gauge({ name: 'sandboxer_live', help: 'Sandboxes that hold a slot', registers });
    this.#running = new Gauge({ name: 'sandboxer_runs_in_flight', help: 'Runs being driven', registers });
    this.#requests = new Histogram({
      name: 'sandboxer_request_seconds',
      help: 'HTTP requests by operation and status',
      labelNames: ['operation', 'status'],
      buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2, 10],
      registers,
    });
    engine.context.bus.onCommitted(({ before, record, events }) => {
      for (const { type } of events) transitions.inc({ type });
      if (before?.readyAtMs === null && record.readyAtMs !== null) {
        ready.observe({ extension: record.extensionId }, (record.readyAtMs - record.createdAtMs) / 1_000);
      }
    });
  }

  observeRequest(operation: string, status: number, milliseconds: number): void {
    this.#requests.observe({ operation, status: String(status) }, milliseconds / 1_000);
  }

  async render(): Promise<Response> {
    this.#live.set(await this.#engine.context.store.countLive());
    this.#running.set(this.#engine.runner.activeCount);
    const headers = { 'content-type': this.#registry.contentType };
    return new Response(await this.#registry.metrics(), { headers });
  }
}
