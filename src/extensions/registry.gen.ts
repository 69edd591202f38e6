// Written by scripts/generate-registry.ts from the folders here. Change those, then run `npm run generate`.
import type { RegistryEntry } from '../ports/manifest.ts';

export const EXTENSIONS: Readonly<Record<string, RegistryEntry>> = {
  'ext.compose-ssh': {
    manifest: {"id":"ext.compose-ssh","title":"Compose stacks on your hosts","description":"Docker or Podman Compose on a host over SSH, or on this machine's engine, with a reaper of its own on the host.","capabilities":{"isolationLevels":["process","container"],"regions":["hosts"],"persistence":"ephemeral","pricingModel":"self-hosted","network":{"deny":"enforced","egressList":"unsupported","allow":"enforced"},"limits":{"memory":"enforced","cpu":"enforced","processes":"enforced"},"sessions":true,"snapshots":true,"ownDeadline":true,"pause":false,"meter":false,"hostTelemetry":true,"hosts":true},"endsWithMachine":false,"config":{"canaryImage":{"type":"string","default":"busybox:stable","description":"Image of the one service that runs where no repository is given.","environment":"SANDBOXER_CANARY_IMAGE"}}},
    load: () => import('./compose-ssh/extension.ts'),
  },
  'ext.local': {
    manifest: {"id":"ext.local","title":"This machine","description":"Kernel namespaces, an own user range, a seccomp filter, cgroup limits and a resident agent inside.","capabilities":{"isolationLevels":["process"],"regions":["local"],"persistence":"ephemeral","pricingModel":"self-hosted","network":{"deny":"enforced","egressList":"unsupported","allow":"unsupported"},"limits":{"memory":"enforced","cpu":"enforced","processes":"enforced"},"sessions":true,"snapshots":true,"ownDeadline":true,"pause":false,"meter":false,"hostTelemetry":true,"hosts":false},"endsWithMachine":true,"config":{"tmpMb":{"type":"number","default":256,"description":"Size of /tmp, /var/tmp and /dev/shm each, in MiB.","environment":"SANDBOXER_LOCAL_TMP_MB"}}},
    load: () => import('./local/extension.ts'),
  },
  'ext.simulated': {
    manifest: {"id":"ext.simulated","title":"Simulated backend","description":"Keeps its own truth and bill, and does every fault on request, to try fault handling with.","capabilities":{"isolationLevels":["process","container","gvisor","microvm","vm"],"regions":["local"],"persistence":"ephemeral","pricingModel":"metered","network":{"deny":"enforced","egressList":"enforced","allow":"enforced"},"limits":{"memory":"enforced","cpu":"enforced","processes":"enforced"},"sessions":true,"snapshots":false,"ownDeadline":true,"pause":false,"meter":true,"hostTelemetry":false,"hosts":false},"endsWithMachine":false,"config":{"socket":{"type":"string","default":null,"description":"Unix socket of a backend process; without it the backend lives in this process, over a file.","environment":"SANDBOXER_SIMULATED_SOCKET"},"priceMicroUsdPerHour":{"type":"number","default":100000,"description":"What a running sandbox costs, in millionths of a dollar an hour.","environment":"SANDBOXER_SIMULATED_PRICE_MICRO_USD_PER_HOUR"},"requestTimeoutMs":{"type":"number","default":5000,"description":"How long one call to the backend may take before it counts as unanswered.","environment":"SANDBOXER_SIMULATED_TIMEOUT_MS"}}},
    load: () => import('./simulated/extension.ts'),
  },
};
