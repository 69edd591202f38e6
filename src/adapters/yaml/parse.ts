import { createRequire } from 'node:module';
import type { Document, LineCounter } from 'yaml';
import type { z } from 'zod';
import { LIMITS } from '../../domain/limits.ts';
import { nearestName, printable } from '../../domain/text.ts';

export type ParsedYaml<Value> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly problems: readonly string[] };

export interface YamlKind<Schema extends z.ZodType> {
  readonly schema: Schema;
  /** What a problem with the whole is said of, e.g. `profile`. */
  readonly name: string;
}

const require = createRequire(import.meta.url);
/** Loaded with the first file: it is a quarter of all modules, and most commands read no file. */
const yaml = (): typeof import('yaml') => require('yaml');

const FORBIDDEN_KEYS = ['__proto__', 'constructor', 'prototype'];

class Located {
  readonly #file: string;
  readonly #document: Document;
  readonly #lines: LineCounter;

  constructor(file: string, document: Document, lines: LineCounter) {
    this.#file = file;
    this.#document = document;
    this.#lines = lines;
  }

  at(offset: number, sentence: string): string {
    const { line, col } = this.#lines.linePos(offset);
    return `${this.#file}:${line}:${col} ${printable(sentence)}`;
  }

  /** The place of a value, or of the nearest thing around it that the file does hold. */
  atPath(path: readonly PropertyKey[], sentence: string): string {
    for (let length = path.length; length >= 0; length -= 1) {
      const node = this.#document.getIn(path.slice(0, length), true);
      if (node !== null && typeof node === 'object' && 'range' in node) {
        return this.at((node as { range: [number, number, number] }).range[0], sentence);
      }
    }
    return this.at(0, sentence);
  }

  atKey(path: readonly PropertyKey[], key: string, sentence: string): string {
    const { isMap, isScalar } = yaml();
    const parent = path.length === 0 ? this.#document.contents : this.#document.getIn(path, true);
    const pair = isMap(parent)
      ? parent.items.find((item) => isScalar(item.key) && item.key.value === key)
      : undefined;
    if (pair !== undefined && isScalar(pair.key) && pair.key.range)
      return this.at(pair.key.range[0], sentence);
    return this.atPath(path, sentence);
  }
}

/** What YAML allows and we do not: depth, aliases, tags, keys that touch prototypes. */
function structuralProblems(document: Document, located: Located): string[] {
  const { isPair, isScalar, visit } = yaml();
  const problems: string[] = [];
  const add = (node: unknown, sentence: string) => {
    const range = (node as { range?: [number, number, number] | null }).range;
    problems.push(located.at(range?.[0] ?? 0, sentence));
  };
  visit(document, {
    Alias: (_key, node) => {
      add(node, 'aliases are not allowed');
      return visit.BREAK;
    },
    Node: (_key, node, path) => {
      if (path.length > LIMITS.profileDepth * 2) {
        add(node, `nested deeper than ${LIMITS.profileDepth} levels`);
        return visit.BREAK;
      }
      if (node.tag !== undefined) add(node, 'tags are not allowed');
      return undefined;
    },
    Pair: (_key, pair) => {
      if (isPair(pair) && isScalar(pair.key) && FORBIDDEN_KEYS.includes(String(pair.key.value))) {
        add(pair.key, `the key ${String(pair.key.value)} is not allowed`);
      }
    },
  });
  return problems;
}

function unwrap(schema: unknown): unknown {
  let inner = schema;
  while (typeof inner === 'object' && inner !== null && 'unwrap' in inner) {
    inner = (inner as { unwrap(): unknown }).unwrap();
  }
  return inner;
}

/** The fields there are at a path; items of a list are looked at through the list. */
function knownKeys(root: z.ZodType, path: readonly PropertyKey[]): readonly string[] {
  let schema: unknown = root;
  for (const key of path.filter((step) => typeof step !== 'number')) {
    schema = (unwrap(schema) as { shape?: Record<string, unknown> } | undefined)?.shape?.[String(key)];
  }
  return Object.keys((unwrap(schema) as { shape?: object } | undefined)?.shape ?? {});
}

function describeIssue(issue: z.core.$ZodIssue, located: Located, kind: YamlKind<z.ZodType>): string[] {
  const name = issue.path.map(String).join('.');
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => {
      const nearest = nearestName(key, knownKeys(kind.schema, issue.path));
      const hint = nearest === null ? '' : `; did you mean "${nearest}"?`;
      return located.atKey(
        issue.path,
        key,
        `there is no field "${key}"${name === '' ? '' : ` in ${name}`}${hint}`,
      );
    });
  }
  return [located.atPath(issue.path, `${name === '' ? kind.name : name}: ${issue.message}`)];
}

/** Reads one file's text; bounded before it is parsed, and every problem says file, line, column and reason. */
export function parseYaml<Schema extends z.ZodType>(
  file: string,
  text: string,
  kind: YamlKind<Schema>,
): ParsedYaml<z.output<Schema>> {
  if (Buffer.byteLength(text) > LIMITS.profileFileBytes) {
    return { ok: false, problems: [`${file}:1:1 is larger than ${LIMITS.profileFileBytes / 1024} KiB`] };
  }
  const { LineCounter, parseDocument } = yaml();
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true, prettyErrors: false });
  const located = new Located(file, document, lines);
  const broken = document.errors.map((error) => located.at(error.pos[0], error.message));
  const problems = broken.length > 0 ? broken : structuralProblems(document, located);
  if (problems.length > 0) return { ok: false, problems: problems.slice(0, 10) };
  const parsed = kind.schema.safeParse(document.toJS({ maxAliasCount: 0 }));
  if (parsed.success) return { ok: true, value: parsed.data };
  return {
    ok: false,
    problems: parsed.error.issues.flatMap((issue) => describeIssue(issue, located, kind)).slice(0, 10),
  };
}
