/** A stack that stands still while it is copied. Its host lets it go on by itself, whatever becomes of us or of the link. */
import { ExtensionError } from '../../ports/extension.ts';
import type { HostProcess } from '../../ports/host-link.ts';
import type { HostClient, Place } from './client.ts';
import { lastWords, scriptError } from './errors.ts';

const TIME_WAS_OVER = 75;
const LET_GO_ON = 74;
const NOT_PAUSED = 71;
const WORDS_MAX = 4_096;

/**
 * $1 engine, $2 name, $3 seconds, $4 a file. Pauses what runs, says so, and lets it go on when its standard input ends or the time is
 * over. What somebody else paused is left as it is. 71: something could not be paused, and nothing is; 75: the time was over; 74:
 * something ran before that, so that somebody else had let it go on.
 * The file says when it went on, in seconds since the machine's start: an engine goes on with its health checks while a
 * container is paused, and they fail.
 */
const HOLDER = `
engine=$1 name=$2
trap : HUP INT TERM
exec 3<&0
sleep "$3" & time=$!
paused= said= code=0
for container in $("$engine" ps -q --filter "label=sandboxer.name=$name" --filter status=running); do
  if said=$("$engine" pause "$container" 2>&1); then paused="$paused $container"; else code=71; break; fi
done
if [ "$code" = 0 ]; then
  echo paused
  { while read -r _ <&3; do :; done; kill "$time" 2>/dev/null; } & reader=$!
  while kill -0 "$time" 2>/dev/null; do wait "$time"; code=$?; done
  kill "$reader" 2>/dev/null
  if [ "$code" = 0 ]; then code=75; else
    code=0
    running=$("$engine" ps -q --filter "label=sandboxer.name=$name" --filter status=running) || running=unknown
    [ -z "$running" ] || code=74
  fi
else
  printf '%s\\n' "$said" >&2
  kill "$time"
fi
cut -d. -f1 /proc/uptime 2>/dev/null >"$4"
for container in $paused; do "$engine" unpause "$container" >/dev/null 2>&1; done
exit "$code"
`;

/** $1 the holder, then its words. It is in a session of its own: whoever ends this one's group does not end it. */
const HOLD = `
exec 3<&0
setsid sh -c "$@" <&3 3<&- &
wait "$!"
`;

export class Hold {
  readonly #process: HostProcess;
  readonly #said: () => string;
  readonly #host: string;
  readonly #limitS: number;
  #ended: Promise<void> | null = null;

  constructor(process: HostProcess, said: () => string, host: string, limitS: number) {
    this.#process = process;
    this.#said = said;
    this.#host = host;
    this.#limitS = limitS;
  }

  /** Resolves when the stack has gone on, and stood still until now; rejects when it had gone on before. Safe to repeat. */
  release(): Promise<void> {
    this.#ended ??= this.#release();
    return this.#ended;
  }

  async #release(): Promise<void> {
    this.#process.stdin.end();
    const exitCode = await this.#process.exit;
    if (exitCode === 0) return;
    if (exitCode === TIME_WAS_OVER) {
      throw new ExtensionError(
        'transient',
        `The stack stood still for ${this.#limitS} s and went on before all of it was copied; the profile's pause_max_s says how long it may.`,
      );
    }
    if (exitCode === LET_GO_ON)
      throw new ExtensionError(
        'transient',
        'The stack was let go on by somebody else before all of it was copied.',
      );
    throw scriptError('Pausing the stack', this.#host, exitCode, this.#said());
  }
}

/** Resolves once everything of the stack that ran stands still, for at most `limitS` seconds. */
export async function holdStack(
  client: HostClient,
  place: Place,
  limitS: number,
  signal: AbortSignal,
): Promise<Hold> {
  const { engine } = await client.engine(signal);
  const words = [HOLDER, 'sh', engine, place.name, String(limitS), client.statePath(place, 'held')];
  const process = await client.link.start({ command: ['sh', '-c', HOLD, 'sh', ...words], signal });
  let said = '';
  process.stderr.on('data', (data: Buffer) => {
    said = (said + data.toString('utf8')).slice(-WORDS_MAX);
  });
  const paused = new Promise<void>((resolve) => process.stdout.once('data', () => resolve()));
  const first = await Promise.race([paused, process.exit]);
  if (first === undefined) return new Hold(process, () => said, client.host.name, limitS);
  if (first === NOT_PAUSED) {
    throw new ExtensionError(
      'transient',
      `The stack cannot be paused: ${lastWords(said) || 'no reason was given'}.`,
    );
  }
  throw scriptError('Pausing the stack', client.host.name, first, said);
}
