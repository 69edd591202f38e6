import { z } from 'zod';
import { ExtensionError, type SandboxSpec } from '../../ports/extension.ts';

export interface ComposeConfig {
  readonly canaryImage: string;
}

export function readConfig(environment: Readonly<Record<string, string | undefined>>): ComposeConfig {
  return { canaryImage: environment.SANDBOXER_CANARY_IMAGE ?? 'busybox:stable' };
}

const profileConfigSchema = z.strictObject({
  /** Keys of a service that are refused otherwise, and the names of `ALLOWED_NAMES`. */
  allow: z.array(z.string().min(1).max(64)).max(64).default([]),
  /** What commands and files go to; the first service of the file unless said. */
  service: z.string().min(1).max(63).optional(),
  /** `paused`: the stack stands still while it is copied, for at most `pause_max_s` seconds. */
  snapshot: z.enum(['running', 'paused']).default('running'),
  pause_max_s: z.number().int().min(1).max(3_600).default(120),
});

const INPUT_NAMES = ['repo', 'compose_file', 'service', 'gitignore', 'git'];
const ENVIRONMENT_INPUT = /^env\.([A-Za-z_][A-Za-z0-9_]*)$/;

/** What one sandbox is asked to be, beyond the rules every backend knows. */
export interface ComposeRequest {
  /** Null: no repository, one idle service. */
  readonly repository: string | null;
  /** Relative to the repository; found by itself where null. */
  readonly composeFile: string | null;
  readonly service: string | null;
  readonly respectGitignore: boolean;
  readonly withGit: boolean;
  readonly allowed: ReadonlySet<string>;
  /** Seconds for which the stack may stand still while it is copied; 0: it runs on. */
  readonly pauseMaxS: number;
  /** For `${NAME}` in the Compose file. */
  readonly variables: Readonly<Record<string, string>>;
}

function flag(inputs: Readonly<Record<string, string>>, name: string, otherwise: boolean): boolean {
  const value = inputs[name] ?? String(otherwise);
  if (value === 'true' || value === 'false') return value === 'true';
  throw new ExtensionError('invalid', `The input ${name} is true or false.`);
}

/** Reads inputs and the profile's `config`; refuses what it does not know rather than ignore it. */
export function readRequest(spec: SandboxSpec): ComposeRequest {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(spec.inputs)) {
    const variable = ENVIRONMENT_INPUT.exec(name)?.[1];
    if (variable !== undefined) variables[variable] = value;
    else if (!INPUT_NAMES.includes(name)) {
      throw new ExtensionError(
        'invalid',
        `ext.compose-ssh has no input "${name.slice(0, 60)}"; it takes ${INPUT_NAMES.join(', ')} and env.NAME.`,
      );
    }
  }
  const parsed = profileConfigSchema.safeParse(spec.configuration);
  if (!parsed.success) {
    throw new ExtensionError(
      'invalid',
      `The profile's config does not fit ext.compose-ssh: ${parsed.error.issues[0]?.message}.`,
    );
  }
  return {
    repository: spec.inputs.repo ?? null,
    composeFile: spec.inputs.compose_file ?? null,
    service: spec.inputs.service ?? parsed.data.service ?? null,
    respectGitignore: flag(spec.inputs, 'gitignore', true),
    withGit: flag(spec.inputs, 'git', false),
    allowed: new Set(parsed.data.allow),
    pauseMaxS: parsed.data.snapshot === 'paused' ? parsed.data.pause_max_s : 0,
    variables,
  };
}
