/** What an extension says about itself before any of its code runs: `manifest.yaml`, checked. */
import { parseDocument } from 'yaml';
import { z } from 'zod';
import { type CreateExtension, ExtensionError } from './extension.ts';

const MANIFEST_BYTES_MAX = 64 * 1024;
const grade = z.enum(['enforced', 'best-effort', 'unsupported']);

export const CapabilitiesSchema = z.strictObject({
  isolationLevels: z.array(z.enum(['process', 'container', 'gvisor', 'microvm', 'vm'])).min(1),
  regions: z.array(z.string().min(1).max(64)),
  persistence: z.enum(['ephemeral', 'persistent']),
  pricingModel: z.enum(['self-hosted', 'metered']),
  network: z.strictObject({ deny: grade, egressList: grade, allow: grade }),
  limits: z.strictObject({ memory: grade, cpu: grade, processes: grade }),
  sessions: z.boolean(),
  snapshots: z.boolean(),
  ownDeadline: z.boolean(),
  pause: z.boolean(),
  meter: z.boolean(),
  hostTelemetry: z.boolean(),
  hosts: z.boolean(),
});

const ConfigFieldSchema = z
  .strictObject({
    type: z.enum(['string', 'number', 'boolean', 'duration']),
    /** Null when there is no value until somebody gives one. */
    default: z.union([z.string(), z.number(), z.boolean()]).nullable(),
    description: z.string().min(1).max(400),
    /** The variable that sets it. */
    environment: z
      .string()
      .regex(/^[A-Z][A-Z0-9_]*$/)
      .optional(),
  })
  .refine(
    (field) =>
      field.default === null || typeof field.default === (field.type === 'duration' ? 'string' : field.type),
    { error: 'the default has another type than the field' },
  );

function isElsewhere({ hosts, pricingModel, persistence }: z.output<typeof CapabilitiesSchema>): boolean {
  return hosts || pricingModel !== 'self-hosted' || persistence !== 'ephemeral';
}

export const ManifestSchema = z
  .strictObject({
    id: z.string().regex(/^ext\.[a-z][a-z0-9]*(-[a-z0-9]+)*$/, 'an id is "ext." and a slug'),
    title: z.string().min(1).max(80),
    description: z.string().min(1).max(400),
    /** What it can do at most; `capabilities()` of a running one may say less, never more. */
    capabilities: CapabilitiesSchema,
    /**
     * Its sandboxes run on this machine and none outlives a crash of it. The core then asks for an effect before its
     * intent has reached the disk; what is left on disk of one without a record is in `list`, and swept.
     */
    endsWithMachine: z.boolean().default(false),
    config: z.record(z.string().regex(/^[a-z][A-Za-z0-9]*$/), ConfigFieldSchema).default({}),
  })
  .refine(({ endsWithMachine, capabilities }) => !endsWithMachine || !isElsewhere(capabilities), {
    path: ['endsWithMachine'],
    error: 'a backend with hosts, a bill or persistence does not end with this machine',
  });

export type Manifest = z.output<typeof ManifestSchema>;

/** An entry of the registry: the manifest is there, the code is loaded when first used. */
export interface RegistryEntry {
  readonly manifest: Manifest;
  load(): Promise<{ readonly createExtension: CreateExtension }>;
}

/** Reads the text of a `manifest.yaml`; an `invalid` error names `file`, the line where known, and the field. */
export function parseManifest(text: string, file: string): Manifest {
  if (text.length > MANIFEST_BYTES_MAX) throw new ExtensionError('invalid', `${file} is too large`);
  const document = parseDocument(text, { uniqueKeys: true });
  const broken = document.errors[0];
  if (broken !== undefined) {
    throw new ExtensionError(
      'invalid',
      `${file}:${broken.linePos?.[0].line ?? 1}: ${broken.message.split('\n')[0]}`,
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch (error) {
    throw new ExtensionError('invalid', `${file}: aliases are not allowed`, { cause: error });
  }
  return checkManifest(value, file);
}

export function checkManifest(value: unknown, file: string): Manifest {
  const parsed = ManifestSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new ExtensionError(
    'invalid',
    `${file}: ${issue?.path.join('.') || 'manifest'}: ${issue?.message ?? 'not valid'}`,
  );
}
