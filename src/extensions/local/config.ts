import { z } from 'zod';
import { ExtensionError, type SandboxSpec } from '../../ports/extension.ts';

export interface LocalConfig {
  readonly tmpMb: number;
}

export function readConfig(environment: Readonly<Record<string, string | undefined>>): LocalConfig {
  const tmpMb = environment.SANDBOXER_LOCAL_TMP_MB ?? '256';
  if (!/^[1-9][0-9]{0,6}$/.test(tmpMb)) {
    throw new ExtensionError('invalid', 'SANDBOXER_LOCAL_TMP_MB must be a whole number of MiB.');
  }
  return { tmpMb: Number(tmpMb) };
}

const profileConfigSchema = z.strictObject({
  tmp_mb: z.number().int().min(1).max(1_048_576).optional(),
});

const INPUT_NAMES = ['repo', 'image', 'gitignore'];
const ENVIRONMENT_INPUT = /^env\.([A-Za-z_][A-Za-z0-9_]*)$/;

/** What one sandbox is asked to be, beyond the rules every backend knows. */
export interface LocalRequest {
  readonly repository: string | null;
  readonly respectGitignore: boolean;
  readonly image: string | null;
  readonly environment: Readonly<Record<string, string>>;
  readonly tmpBytes: number;
}

/** Reads inputs and the profile's `config`; refuses what it does not know rather than ignore it. */
export function readRequest(spec: SandboxSpec, config: LocalConfig): LocalRequest {
  const environment: Record<string, string> = {};
  for (const [name, value] of Object.entries(spec.inputs)) {
    const variable = ENVIRONMENT_INPUT.exec(name)?.[1];
    if (variable !== undefined) environment[variable] = value;
    else if (!INPUT_NAMES.includes(name)) {
      throw new ExtensionError(
        'invalid',
        `ext.local has no input "${name.slice(0, 60)}"; it takes repo, gitignore, image and env.NAME.`,
      );
    }
  }
  const parsed = profileConfigSchema.safeParse(spec.configuration);
  if (!parsed.success) {
    throw new ExtensionError(
      'invalid',
      `The profile's config does not fit ext.local: ${parsed.error.issues[0]?.message}.`,
    );
  }
  const gitignore = spec.inputs.gitignore ?? 'false';
  if (!['true', 'false'].includes(gitignore))
    throw new ExtensionError('invalid', 'The input gitignore is true or false.');
  return {
    repository: spec.inputs.repo ?? null,
    respectGitignore: gitignore === 'true',
    image: spec.inputs.image ?? null,
    environment,
    tmpBytes: (parsed.data.tmp_mb ?? config.tmpMb) * 1024 * 1024,
  };
}
