/** The door `sand-boxer/extension`, for people who write extensions: the contract and the suite that proves it. */
export * from './conformance/suite.ts';
export type { Host } from './domain/host/host.ts';
export { backendName, parseBackendName } from './domain/ids.ts';
export { type Clock, timeoutSignal } from './ports/clock.ts';
export type { Entropy } from './ports/entropy.ts';
export * from './ports/extension.ts';
export type { HostDirectory } from './ports/host-directory.ts';
export type { HostLink } from './ports/host-link.ts';
export { type Manifest, ManifestSchema, parseManifest, type RegistryEntry } from './ports/manifest.ts';
export * from './ports/snapshot.ts';
